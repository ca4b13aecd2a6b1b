"""ALG by ``zeroproof``."""

from __future__ import annotations

from properties.subjects.zeroproof.bottom import ZeroProofBottom
from spec.bottom import Elementwise
from spec.formats import FORMATS


class ZeroProofAlgebra(ZeroProofBottom):
    """Floats by the operations of BOT; there are no rational numbers."""

    kinds = tuple(FORMATS)

    def meadow(self, kind: str) -> Elementwise:
        """Return the meadow of a format."""
        return Elementwise(self, kind)
