"""Coverage, and the loss that penalises too little of it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroproof.losses.arithmetic import at_least_one, check_tau, widen_alike, with_gradient
from zeroproof.scm.outputs import Outputs, bottom_mask, tuple_bottom
from zeroproof.utils.checks import check_mask, check_number, explains


def per_sample(mask: Bool[Tensor, "batch *outputs"]) -> Bool[Tensor, " batch"]:
    """Tell for each sample whether the mask is True for all of its outputs. Meets: COV-2."""
    return mask.flatten(1).all(dim=1) if mask.dim() > 1 else mask


def coverage(
    outputs: Outputs, is_bottom: Bool[Tensor, "batch *outputs"] | None = None, *, tau: float = 0.0
) -> Float[Tensor, ""]:
    """Return the fraction of samples that are not ⊥ in any of their outputs.

    Args:
        outputs: a model's outputs in any form, samples along the first dimension.
        is_bottom: an explicit mask of ⊥, added to the non-finite payloads.
        tau: threshold on ``|Q|``; used for outputs ``(P, Q)`` only.

    Raises ValueError for no samples, or a mask of another shape. Meets: COV-2, COV-4.

    Example:
        >>> coverage(torch.tensor([1.0, torch.nan, torch.inf, 2.0]))
        tensor(0.5000)
    """
    bottom = bottom_mask(outputs, tau)
    if is_bottom is not None:
        check_mask(is_bottom, bottom, "is_bottom")
        bottom = bottom | is_bottom
    covered = per_sample(~bottom)
    if covered.numel() == 0:
        raise ValueError("outputs hold no samples; coverage is undefined for them")
    return covered.float().mean()


def rejection_term(P: Tensor, Q: Tensor, bottom: Tensor, target: float, finite: Tensor) -> Tensor:
    """Return the rejection loss over the ``finite`` elements."""
    counted = per_sample(finite)
    lost = finite & bottom & counted.view(counted.shape + (1,) * (Q.dim() - 1))
    uncovered, n = ~per_sample(~lost), at_least_one(counted)
    shortfall = (uncovered.sum().to(Q.dtype) / n - (1.0 - target)).relu()
    # The soft coverage is the mean of |Q| over the ⊥ elements: constant slopes, whatever τ.
    larger = torch.maximum(P.detach().abs(), Q.detach().abs())
    width = max(Q.shape[1:].numel(), 1)
    slope = torch.copysign(shortfall * (2.0 / width) / n, -Q.detach())
    slope = torch.where(lost & (larger < torch.inf), slope, 0.0)
    return with_gradient(shortfall * shortfall, Q, slope)


@explains(is_bottom="it follows from (P, Q) and tau", policy="see zeroproof.autodiff.policies")
def rejection_loss(
    P: Float[Tensor, "batch *outputs"],
    Q: Float[Tensor, "batch *outputs"],
    tau: float | Tensor,
    *,
    target_coverage: float = 0.95,
    mask: Bool[Tensor, "batch *outputs"] | None = None,
) -> Float[Tensor, ""]:
    """Return ``max(0, target_coverage − coverage)²`` over finite-target samples.

    The gradient is that of the soft coverage ``mean |Q|`` over the ⊥ elements: a step against it
    raises the ``|Q|`` of each, also from ±0. The mask marks the elements with a finite target; None
    marks all. Raises ValueError for shapes that differ, or a target outside [0, 1].

    Meets: LOSS-5, LOSS-7, LOSS-8, LOSS-9, LOSS-11, LOSS-12, LOSS-13, LOSS-17.

    Example:
        >>> Q = torch.tensor([0.0, 1.0], requires_grad=True)
        >>> loss = rejection_loss(torch.ones(2), Q, 0.1, target_coverage=1.0)
        >>> loss.backward()
        >>> loss.item(), Q.grad[0].item()
        (0.25, -0.5)
    """
    target_coverage = check_number("target_coverage", target_coverage, "[0, 1]")
    tau = check_tau(tau)
    wide_P, wide_Q = widen_alike(P, Q)
    if mask is None:
        mask = torch.ones_like(Q, dtype=torch.bool)
    check_mask(mask, Q)
    bottom = tuple_bottom(P, Q, tau)  # in their own dtype, as they are decoded
    return rejection_term(wide_P, wide_Q, bottom, target_coverage, mask)
