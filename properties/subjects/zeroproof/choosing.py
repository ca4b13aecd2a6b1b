"""THR by ``zeroproof``."""

from __future__ import annotations

from typing import Any

from properties.subjects.zeroproof.unchecked import unchecked
from properties.tensors import to_tensor
from spec.choosing import Certified, HeldOut
from zeroproof.inference import certify_threshold, choose_threshold


class ZeroProofChoosing:
    """Thresholds of ``zeroproof.inference``."""

    def choose_threshold(self, held: HeldOut, unit: float | None = None) -> float:
        with unchecked():  # of shapes that differ
            return choose_threshold(*map(to_tensor, vars(held).values()), unit=unit)

    def certify_threshold(
        self, held: HeldOut, rate: float, confidence: float | None = None
    ) -> Certified:
        options: Any = {"rate": rate} | ({} if confidence is None else {"confidence": confidence})
        with unchecked():
            return Certified(*certify_threshold(*map(to_tensor, vars(held).values()), **options))
