"""ALG by ``zeroproof``."""

from __future__ import annotations

from properties.subjects.ours.bottom import OursBottom
from spec.bottom import Elementwise
from spec.formats import FORMATS


class OursAlgebra(OursBottom):
    """Floats by the operations of BOT; there are no rational numbers."""

    kinds = tuple(FORMATS)

    def meadow(self, kind: str) -> Elementwise:
        """Return the meadow of a format."""
        return Elementwise(self, kind)
