"""Decode projective tuples to values, or to ⊥ below a threshold on the denominator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zeroproof.scm.carrier import SCMTensor
from zeroproof.scm.outputs import Outputs, is_projective, tuple_bottom
from zeroproof.utils.checks import check_thresholds


@dataclass(frozen=True)
class InferenceConfig:
    """Thresholds of strict inference.

    Args:
        tau_infer: below it a denominator decodes to ⊥; ≥ 0.
        tau_train: the training threshold, ≥ ``tau_infer``; between the two lies the gap.
        gauge: ``"raw"`` compares ``|Q|``; ``"unit"`` compares ``|Q| / ‖(P, Q)‖``, which lies
            in [0, 1] and does not change when the tuple is scaled.

    Raises:
        ValueError: a field outside its range.

    Meets: DEC-2, DEC-4, DEC-6.
    """

    tau_infer: float = 1e-6
    tau_train: float = 1e-4
    gauge: str = "raw"

    def __post_init__(self) -> None:
        check_thresholds(self.tau_infer, self.tau_train, ("tau_infer", "tau_train"))
        if self.gauge not in ("raw", "unit"):
            raise ValueError(f"gauge must be 'raw' or 'unit', got {self.gauge!r}")


class Decoded(NamedTuple):
    """A strict decode: the value (NaN for ⊥), the mask of ⊥, and the mask of the gap."""

    value: Float[Tensor, "..."]
    bottom: Bool[Tensor, "..."]
    gap: Bool[Tensor, "..."]


def unit_denominator(
    P: Float[Tensor, "*shape"], Q: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return ``|Q| / ‖(P, Q)‖`` in float64: 1 at value 0, 0 at a pole, and NaN at ``(0, 0)``.

    Meets: DEC-4.

    Example:
        >>> unit_denominator(torch.tensor([3.0]), torch.tensor([-4.0]))
        tensor([0.8000], dtype=torch.float64)
    """
    p, q = P.double(), Q.double()
    size = torch.maximum(p.abs(), q.abs())
    p, q = p / size, q / size
    return q.abs() / (p.square() + q.square()).sqrt()


def strict_inference(
    P: Float[Tensor, "*shape"],
    Q: Float[Tensor, "*shape"],
    config: InferenceConfig | None = None,
) -> Decoded:
    """Decode ``(P, Q)`` to ``P / Q``, or to ⊥.

    Args:
        P, Q: tuples of any shape; NaN and ±∞ decode to ⊥.
        config: thresholds; None takes the defaults of :class:`InferenceConfig`.

    Returns:
        Value (dtype of ``P / Q``, NaN for ⊥), ⊥ mask and gap mask. The gradient at a ⊥
        element is 0.

    Raises:
        ValueError: P and Q differ in shape.

    Meets: DEC-1, DEC-2, DEC-3, DEC-4, DEC-5, DEC-6, POL-10.

    Example:
        >>> strict_inference(torch.tensor([1.0, 1.0]), torch.tensor([4.0, 0.0])).value
        tensor([0.2500,    nan])
    """
    config = config or InferenceConfig()
    if P.shape != Q.shape:
        raise ValueError(
            f"P has shape {tuple(P.shape)}, Q {tuple(Q.shape)}; a tuple needs both alike"
        )
    if config.gauge == "unit":
        size = unit_denominator(P, Q)
        bottom = tuple_bottom(P, Q) | (size < config.tau_infer)
    else:
        size = Q.double().abs()
        bottom = tuple_bottom(P, Q, config.tau_infer)
    quotient = SCMTensor(P, bottom) / SCMTensor(Q, bottom)
    gap = ~quotient.bottom & (size < config.tau_train)
    return Decoded(quotient.to_ieee(), quotient.bottom, gap)


class SCMInferenceWrapper(nn.Module):
    """A projective model that decodes strictly in eval mode.

    In train mode it returns the model's outputs untouched; in eval mode a :class:`Decoded`.

    Args:
        model: returns ``(P, Q)``.
        config: thresholds; None takes the defaults of :class:`InferenceConfig`.

    Raises:
        TypeError: on a forward in eval mode, if the model does not return ``(P, Q)``.

    Meets: DEC-8.

    Example:
        >>> from zeroproof.layers import ProjectiveMLP
        >>> model = SCMInferenceWrapper(ProjectiveMLP(3)).eval()
        >>> model(torch.zeros(5, 3)).value.shape
        torch.Size([5])
    """

    def __init__(self, model: nn.Module, config: InferenceConfig | None = None) -> None:
        super().__init__()
        self.model = model
        self.config = config or InferenceConfig()

    def forward(self, *args: Any, **kwargs: Any) -> Outputs | Decoded:
        """Run the model; decode its tuples in eval mode."""
        outputs: Outputs = self.model(*args, **kwargs)
        if self.training:
            return outputs
        if not is_projective(outputs):
            raise TypeError(
                f"strict inference needs a model that returns (P, Q), got {type(outputs).__name__}"
            )
        return strict_inference(*outputs, self.config)
