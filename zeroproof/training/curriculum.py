"""Loss weights that change from epoch to epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LinearRamp:
    """A weight that goes linearly from ``start`` to ``end``.

    It is ``start`` up to epoch ``first_epoch`` and ``end`` from ``first_epoch + epochs`` on.
    Raises ValueError for ``epochs < 1`` or ``first_epoch < 0``.

    Example:
        >>> [LinearRamp(0.0, 1.0, epochs=2)(epoch) for epoch in range(4)]
        [0.0, 0.5, 1.0, 1.0]
    """

    start: float
    end: float
    epochs: int
    first_epoch: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be ≥ 1, got {self.epochs!r}")
        if self.first_epoch < 0:
            raise ValueError(f"first_epoch must be ≥ 0, got {self.first_epoch!r}")

    def __call__(self, epoch: int) -> float:
        """Return the weight in an epoch (counted from 0)."""
        progress = min(max((epoch - self.first_epoch) / self.epochs, 0.0), 1.0)
        return self.start * (1.0 - progress) + self.end * progress


@dataclass(frozen=True)
class LossWeightsCurriculum:
    """Weights by name, each a number or a function of the epoch: a ``loss_curriculum``.

    Meets: CUR-1.

    Example:
        >>> LossWeightsCurriculum({"fit": 1.0, "sign": LinearRamp(0.0, 1.0, epochs=4)})(1)
        {'fit': 1.0, 'sign': 0.25}
    """

    weights: Mapping[str, float | Callable[[int], float]]

    def __call__(self, epoch: int) -> dict[str, float]:
        """Return the weights of an epoch (counted from 0)."""
        return {
            name: float(weight(epoch)) if callable(weight) else float(weight)
            for name, weight in self.weights.items()
        }
