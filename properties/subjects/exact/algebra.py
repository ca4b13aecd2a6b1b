"""ALG by the exact reference."""

from __future__ import annotations

from typing import Any

from properties.subjects.exact.bottom import ExactBottom
from spec.algebra import Meadow, Rationals
from spec.carriers import Elementwise
from spec.formats import FORMATS


class ExactAlgebra(ExactBottom):
    """Rational numbers, and floats by the operations of BOT."""

    kinds = ("rational", *FORMATS)

    def meadow(self, kind: str) -> Meadow[Any]:
        """Return the meadow of a kind."""
        return Rationals() if kind == "rational" else Elementwise(self, kind)
