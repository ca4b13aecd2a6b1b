"""Subjects: what the properties hold to the specification.

``exact`` is the specification's own arithmetic, ``zeroproof`` is ours, and ``third_party`` are
packages that one can install.
"""
