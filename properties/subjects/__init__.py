"""Subjects: what the properties hold to the specification.

``exact`` is the specification's own arithmetic, ``ours`` is ``zeroproof``; ``broken`` holds
implementations that are each wrong in one way, and name the clause that has to find it.
"""

from properties.subjects.exact import Exact
from properties.subjects.ours import Ours

__all__ = ["Exact", "Ours"]
