"""The projective likelihood, a fit that learns from the certainty of tuples (LIK)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroproof.losses.arithmetic import Scalar, mask_tuples, mean, widen_alike
from zeroproof.scm.arcs import Ends, arc, shortened, squared, unit
from zeroproof.scm.outputs import Mask, Part, own_denominators, shares_denominator
from zeroproof.utils.checks import check_floats, check_mask, check_pair, check_scalar


def likelihood_term(
    P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor, resolution: float | Tensor
) -> Tensor:
    """Return ``−log f`` of exact targets, elementwise, or by samples that share ``Q``."""
    if shares_denominator(P, Q):
        return _joint_term(P, Q, Y_n, Y_d, resolution)
    (P, Q), (n, d) = shortened(P, Q), unit(Y_n, Y_d)
    cross, sharp = P * d - Q * n, 2.0 * (P * P + Q * Q)
    wide = (2.0 + sharp) * (2.0 * cross * cross + sharp * squared(resolution))
    return (torch.log1p(wide) - torch.log1p(sharp)) * torch.logical_or(n, d)  # (0, 0) is no line


def interval_term(
    P: Tensor, Q: Tensor, lower: Ends, upper: Ends, resolution: float | Tensor
) -> Tensor:
    """Return ``−log(m·π/δ)`` of arcs, elementwise; of an arc of no width what it tends to."""
    found = arc(P, Q, lower, upper)
    # A thinner arc is a line, and its angle may underflow.
    turned = (found.sine > 2.0**-300) | ((found.sine > 0) & (found.cosine < 0))
    safe = found._replace(sine=torch.where(turned, found.sine, 1.0))
    turn = torch.atan2(safe.sine, safe.cosine)
    wide = torch.log(turn) - torch.log(safe.weighed(resolution))
    point = likelihood_term(P, Q, *lower, resolution)
    whole = found.cosine < 0
    return torch.where(turned, wide, torch.where(whole, 0.0 * point, point))


def _joint_term(
    P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor, resolution: float | Tensor
) -> Tensor:
    P, Q, Y_n, Y_d = shortened(P, Q, Y_n, Y_d)
    infinite = Y_d == 0
    pole = infinite.any(-1, keepdim=True)
    # The target is (sine · direction, cosine); along its direction lies LIK-1's cross product.
    y = torch.where(pole, 0.0, Y_n / torch.where(infinite, 1.0, Y_d))
    size = y.abs().amax(-1, keepdim=True)
    direction = y / torch.where(size == 0, 1.0, size)
    norm = direction.square().sum(-1, keepdim=True).sqrt().clamp(min=1.0)
    sine, cosine = unit(size, 1.0 / norm)
    direction = direction / norm
    along = (P * direction).sum(-1, keepdim=True)
    across = (P - along * direction).square().sum(-1, keepdim=True)
    missed = torch.where(pole, Q * Q, (along * cosine - Q * sine).square() + across)
    square, k = P.square().sum(-1, keepdim=True) + Q * Q, P.shape[-1]
    # A sample with an infinite output only says that its pole is near.
    powers = torch.where(pole, 1.0, (k + 1) / 2), torch.where(pole, 1.0, float(k))
    blurred = missed + square * squared(resolution)
    wide, sharp = torch.log1p(4.0 * (1.0 + square) * blurred), torch.log1p(2.0 * square)
    return (powers[0] * wide - powers[1] * sharp).squeeze(-1)


def likelihood_loss(
    P: Part,
    Q: Float[Tensor, "*#shape"],
    Y_n: Part,
    Y_d: Part,
    *,
    resolution: float | Tensor = 0.0,
    mask: Bool[Tensor, "..."] | None = None,
) -> Scalar:
    """Mean of the negative log density of the target lines, relative to the uniform density.

    If ``Q`` is one column for several outputs, it is the mean over samples of their joint one.

    Args:
        P, Q: predicted tuples; ``(0, 0)`` is ignorance, at which the loss is 0.
        Y_n, Y_d: target tuples.
        resolution: the smallest angle, in radians, that a measurement resolves; ≥ 0. With 0 the
            loss of noiseless targets has no lower bound.
        mask: elements to count, samples of a joint loss; None counts all.

    Raises ValueError for shapes that differ, or a resolution that is negative or not finite.
    Meets: LIK-1, LIK-4, LIK-5, LIK-7, LIK-8, LIK-9.

    Example:
        >>> one = torch.ones(1)
        >>> likelihood_loss(one, one, one, one)
        tensor(-1.6094)
    """
    resolution = check_scalar("resolution", resolution, "[0, ∞)")
    check_floats(P=P, Q=Q)
    shared = shares_denominator(P, Q)
    kept, tuples = mask, widen_alike(P, own_denominators(P, Q), Y_n, Y_d)
    if shared and mask is not None:
        check_mask(mask, tuples[0][..., 0])
        kept = mask.unsqueeze(-1).expand_as(P)
    P, Q, Y_n, Y_d = mask_tuples(kept, *tuples)
    Q = Q[..., :1] if shared else Q
    return mean(likelihood_term(P, Q, Y_n, Y_d, resolution), mask).to(P.dtype)


def interval_loss(
    P: Part,
    Q: Part,
    lower: Ends,
    upper: Ends,
    *,
    resolution: float | Tensor = 0.0,
    mask: Mask | None = None,
) -> Scalar:
    """Mean of the negative log probability of target intervals, relative to the uniform one.

    "More than c" is the interval from c to ∞, "less than c" that from −∞ to c. An interval whose
    ends are equal counts as in :func:`likelihood_loss`; the whole line has loss 0.

    Args:
        P, Q, resolution, mask: as in :func:`likelihood_loss`, of which it raises the errors.
        lower, upper: lifted ends ``(n, d)``, each a pair of tensors.

    Meets: LIK-2, LIK-4, LIK-7, LIK-8.

    Example:
        >>> one = torch.ones(1)
        >>> interval_loss(one, one, (one, one), (one, 0 * one))  # between 1 and ∞
        tensor(-0.5589)
    """
    resolution = check_scalar("resolution", resolution, "[0, ∞)")
    check_pair("lower", lower)
    check_pair("upper", upper)
    P, Q, l_n, l_d, u_n, u_d = mask_tuples(mask, *widen_alike(P, Q, *lower, *upper))
    return mean(interval_term(P, Q, (l_n, l_d), (u_n, u_d), resolution), mask).to(P.dtype)
