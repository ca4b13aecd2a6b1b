"""Subjects: what the properties hold to the specification.

``exact`` is the specification's own arithmetic, ``ours`` is ``zeroproof``, ``public`` are packages
that one can install; ``broken`` holds implementations that are each wrong in one way, and name the
clause that has to find it.
"""
