"""Loss weights that change from epoch to epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from zeroproof.utils.checks import check_number, check_type, check_weights


@dataclass(frozen=True)
class LinearRamp:
    """A weight that changes linearly from one epoch to another, and is constant elsewhere.

    Epochs count from 0, and need not be integers.

    Raises:
        TypeError: what is no number.
        ValueError: a value that is not finite, ``start_epoch < 0``, or ``end_epoch ≤ start_epoch``.

    Meets: CUR-2.

    Example:
        >>> ramp = LinearRamp(0.0, 1.0, start_epoch=1, end_epoch=3)
        >>> [ramp(epoch) for epoch in range(5)]
        [0.0, 0.0, 0.5, 1.0, 1.0]
    """

    start_value: float
    end_value: float
    start_epoch: float = 0
    end_epoch: float = 1

    def __post_init__(self) -> None:
        for name, number in vars(self).items():
            allowed = "[0, ∞)" if name.endswith("epoch") else "(-∞, ∞)"
            object.__setattr__(self, name, check_number(name, number, allowed))
        if self.end_epoch <= self.start_epoch:
            raise ValueError(
                f"end_epoch must be > start_epoch ({self.start_epoch!r}), got {self.end_epoch!r}"
            )

    def __call__(self, epoch: int) -> float:
        """Return the weight in an epoch (counted from 0)."""
        progress = (epoch - self.start_epoch) / (self.end_epoch - self.start_epoch)
        progress = min(max(progress, 0.0), 1.0)
        return self.start_value * (1.0 - progress) + self.end_value * progress


@dataclass(frozen=True)
class GeometricRamp(LinearRamp):
    """A ramp whose logarithm changes linearly; ValueError for a value that is not positive.

    Meets: CUR-2.

    Example:
        >>> ramp = GeometricRamp(0.3, 0.003, end_epoch=2)
        >>> [round(ramp(epoch), 6) for epoch in range(3)]
        [0.3, 0.03, 0.003]
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("start_value", "end_value"):
            check_number(name, getattr(self, name), "(0, ∞)")

    def __call__(self, epoch: int) -> float:
        """Return the value in an epoch (counted from 0)."""
        progress = LinearRamp(0.0, 1.0, self.start_epoch, self.end_epoch)(epoch)
        return float(self.start_value ** (1.0 - progress) * self.end_value**progress)


@dataclass(frozen=True)
class LossWeightsCurriculum:
    """Weights by name, each a number or a function of the epoch: a ``loss_curriculum``.

    Meets: CUR-1.

    Example:
        >>> LossWeightsCurriculum({"fit": 1.0, "sign": LinearRamp(0.0, 1.0, end_epoch=4)})(1)
        {'fit': 1.0, 'sign': 0.25}
    """

    ramps: Mapping[str, float | Callable[[int], float]]

    def __post_init__(self) -> None:
        check_type("ramps", self.ramps, Mapping, "a dict of numbers and functions by name")
        check_weights("ramps", {n: x for n, x in self.ramps.items() if not callable(x)})

    def __call__(self, epoch: int) -> dict[str, float]:
        """Return the weights of an epoch (counted from 0)."""
        given = {name: x(epoch) if callable(x) else x for name, x in self.ramps.items()}
        plain = {n: x.item() if isinstance(x, Tensor) else x for n, x in given.items()}
        return check_weights("ramps", plain)
