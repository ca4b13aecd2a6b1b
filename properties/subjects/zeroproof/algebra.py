"""ALG by ``zeroproof``."""

from __future__ import annotations

from properties.subjects.zeroproof.bottom import ZeroProofBottom
from spec.carriers import Elementwise
from spec.formats import FORMATS


class ZeroProofAlgebra(ZeroProofBottom):
    """Floats by the operations of BOT; it has no rational numbers."""

    kinds = tuple(FORMATS)

    def meadow(self, kind: str) -> Elementwise:
        """Return the meadow of a format."""
        return Elementwise(self, kind)
