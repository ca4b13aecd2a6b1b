"""Decode projective tuples to values, or to ⊥ below a threshold on the denominator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zeroproof.scm.carrier import SCMTensor
from zeroproof.scm.outputs import (
    Denominator,
    Outputs,
    Part,
    check_tuple,
    is_projective,
    own_denominators,
    tuple_bottom,
)
from zeroproof.utils.checks import (
    check_number,
    check_thresholds,
    check_type,
    describe,
    instance_or_default,
)


@dataclass(frozen=True)
class InferenceConfig:
    """Thresholds of strict inference.

    Args:
        tau_infer: below it a denominator decodes to ⊥; ≥ 0.
        tau_train: the training threshold, ≥ ``tau_infer``; between the two lies the gap.
        gauge: ``"raw"`` compares ``|Q|``; ``"unit"`` compares ``|Q| / ‖(P, Q)‖``, which lies
            in [0, 1] and does not change when the tuple is scaled.
        lower, upper: the range of an instrument, ends included; what decodes to a number outside
            it becomes ⊥.

    Raises:
        TypeError: a field that is no number.
        ValueError: a field outside its range, ends that cross, or a NaN.

    Meets: DEC-2, DEC-4, DEC-6, DEC-7.
    """

    tau_infer: float = 1e-6
    tau_train: float = 1e-4
    gauge: str = "raw"
    lower: float = -math.inf
    upper: float = math.inf

    def __post_init__(self) -> None:
        names = "tau_infer", "tau_train", "lower", "upper"
        thresholds = check_thresholds(self.tau_infer, self.tau_train, names[:2])
        range_ends = (check_number(n, getattr(self, n), "[-∞, ∞]") for n in names[2:])
        for name, number in zip(names, (*thresholds, *range_ends), strict=True):
            object.__setattr__(self, name, number)
        if self.gauge not in ("raw", "unit"):
            raise ValueError(f"gauge must be 'raw' or 'unit', got {self.gauge!r}")
        if self.lower > self.upper:
            raise ValueError(f"lower ({self.lower!r}) must not exceed upper ({self.upper!r})")


class Decoded(NamedTuple):
    """A strict decode: the value, the mask of ⊥, and the mask of the gap.

    For ⊥ the value is NaN, or ±∞ by the side on which it left the configured range.
    """

    value: Float[Tensor, "..."]
    bottom: Bool[Tensor, "..."]
    gap: Bool[Tensor, "..."]


def unit_denominator(P: Part, Q: Denominator) -> Part:
    """Return ``|Q| / ‖(P, Q)‖`` in float64: 1 at value 0, 0 at a pole, and NaN at ``(0, 0)``.

    Raises the errors of :func:`strict_inference`. Meets: DEC-4.

    Example:
        >>> unit_denominator(torch.tensor([3.0]), torch.tensor([-4.0]))
        tensor([0.8000], dtype=torch.float64)
    """
    check_tuple(P, Q)
    p, q = P.double(), Q.double()
    size = torch.maximum(p.abs(), q.abs())
    p, q = p / size, q / size
    return q.abs() / (p.square() + q.square()).sqrt()


def strict_inference(P: Part, Q: Denominator, config: InferenceConfig | None = None) -> Decoded:
    """Decode ``(P, Q)`` to ``P / Q``, or to ⊥, where the gradient is 0.

    Args:
        P, Q: tuples of any shape; a ``Q`` of one column counts for all columns of ``P``.
        config: thresholds; None takes the defaults of :class:`InferenceConfig`.

    Raises TypeError for what is no floating-point tensor, and ValueError for shapes that differ.
    Meets: DEC-1, DEC-2, DEC-3, DEC-4, DEC-5, DEC-6, DEC-7, DEC-9, POL-10.

    Example:
        >>> strict_inference(torch.tensor([1.0, 1.0]), torch.tensor([4.0, 0.0])).value
        tensor([0.2500,    nan])
    """
    config = instance_or_default("config", config, InferenceConfig)
    check_tuple(P, Q)
    Q = own_denominators(P, Q)
    size = unit_denominator(P, Q) if config.gauge == "unit" else Q.double().abs()
    bottom = tuple_bottom(P, Q) | (size < config.tau_infer)
    quotient = SCMTensor(P, bottom) / SCMTensor(Q, bottom)
    value = quotient.to_ieee()
    above, below = value.double() > config.upper, value.double() < config.lower
    value = value.masked_fill(above, math.inf).masked_fill(below, -math.inf)
    bottom = quotient.bottom | above | below
    return Decoded(value, bottom, ~bottom & (size < config.tau_train))


class SCMInferenceWrapper(nn.Module):
    """A projective model that decodes strictly in eval mode, as :func:`strict_inference` does.

    In train mode it returns the model's outputs untouched. A forward in eval mode raises TypeError
    if the model does not return ``(P, Q)``.

    Meets: DEC-8.

    Example:
        >>> from zeroproof.layers import ProjectiveMLP
        >>> model = SCMInferenceWrapper(ProjectiveMLP(3)).eval()
        >>> model(torch.zeros(5, 3)).value.shape
        torch.Size([5])
    """

    decodes_in_eval_mode = True

    def __init__(self, model: nn.Module, config: InferenceConfig | None = None) -> None:
        super().__init__()
        check_type("model", model, nn.Module, "a torch.nn.Module that is made, not a function")
        self.model = model
        self.config = instance_or_default("config", config, InferenceConfig)

    def forward(self, *args: Any, **kwargs: Any) -> Outputs | Decoded:
        """Run the model; decode its tuples in eval mode."""
        outputs: Outputs = self.model(*args, **kwargs)
        if self.training:
            return outputs
        if not is_projective(outputs):
            raise TypeError(
                f"strict inference needs a model that returns (P, Q), got {describe(outputs)}; "
                "return the two alone"
            )
        return strict_inference(*outputs, self.config)
