"""Learnable rational functions of one variable, smooth and strict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zeroproof.autodiff.functions import save_tensors, with_forward_mode
from zeroproof.autodiff.policies import GradientPolicy, apply_policy, get_policy, set_default
from zeroproof.scm.outputs import gate_tuple, quotient, tuple_bottom
from zeroproof.utils.checks import check_integer, check_number, check_type, describe, explains


class _Polynomial(torch.autograd.Function):
    """A polynomial of ``x``; the row holds its coefficients, lowest power first.

    The gradient is analytic, since autograd through Horner's scheme multiplies powers of ``x`` that
    overflow by coefficients of 0, which gives NaN. Where ``x`` is not finite the gradient is that
    at ``x = 0``, so that no 0 · NaN reaches the coefficients.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, row: Tensor) -> Tensor:
        return _horner(x, row)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        save_tensors(ctx, *inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, row = ctx.saved_tensors
        x, slope = _slope(x, row)
        term, sums = gradient, [gradient.sum()]
        for _ in range(1, len(row)):
            term = term * x
            sums.append(term.sum())
        return gradient * slope, torch.stack(sums)

    @staticmethod
    def tangent(ctx: Any, saved: list[Tensor], in_x: Tensor, in_row: Tensor) -> Tensor:
        x, slope = _slope(*saved)
        return in_x * slope + _polynomial(x, in_row)


_polynomial: Callable[..., Tensor] = with_forward_mode(_Polynomial)


def _slope(x: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x``, with 0 for what is not finite, and the derivative there.

    A slope that overflows becomes the largest number, so that a gradient of 0 stays 0.
    """
    x = x.nan_to_num(0.0, 0.0, 0.0)
    derive = _polynomial if len(row) > 1 else _horner  # which takes no coefficients, too
    slope = derive(x, row[1:] * torch.arange(1, len(row), device=row.device))
    return x, slope.nan_to_num(0.0)


def _horner(x: Tensor, row: Tensor) -> Tensor:
    if len(row) < 2:
        return torch.zeros_like(x) + row.sum()
    *lower, value = row.unbind()
    for coefficient in reversed(lower):
        value = torch.addcmul(coefficient, value, x)
    return value


class ProjectiveRationalHead(nn.Module):
    """Two polynomials of the input: ``(P(x), Q(x))``, elementwise, smooth through poles.

    Starts as ``x / 1`` (as ``0 / 1`` for numerator degree 0). Coefficients are learned, lowest
    power first.

    Args:
        numerator_degree, denominator_degree: degrees of P and Q, ≥ 0.
        domain: ends of an interval that is mapped to [−1, 1]: ``x`` above then means
            ``(x − middle) / half the width``. High powers of other inputs are large, and their
            coefficients hard to learn. A buffer of this name holds it, in float32 or wider;
            None maps nothing.

    Raises:
        ValueError: a negative degree, or a domain without two finite ends, the lower one first.

    Meets: DEC-10, POL-8.

    Example:
        >>> P, Q = ProjectiveRationalHead(3, 2, domain=(0.0, 8.0))(torch.tensor([6.0]))
        >>> P.item(), Q.item()
        (0.5, 1.0)
    """

    domain: Tensor | None

    def __init__(
        self,
        numerator_degree: int,
        denominator_degree: int,
        *,
        domain: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("domain", None if domain is None else _checked_domain(domain))
        degrees = {"numerator_degree": numerator_degree, "denominator_degree": denominator_degree}
        above, below = (check_integer(name, degree, 0) for name, degree in degrees.items())
        self.numerator = nn.Parameter(torch.eye(2, above + 1)[1].clone())
        self.denominator = nn.Parameter(torch.eye(1, below + 1)[0].clone())

    def forward(
        self, x: Float[Tensor, "*shape"]
    ) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
        """Return ``(P(x), Q(x))``."""
        return gate_tuple(*self.evaluate(x), get_policy(self))

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(P(x), Q(x))``, under no policy."""
        check_type("x", x, Tensor, "a tensor, as torch.as_tensor(x) is")
        if x.is_complex():
            raise TypeError(f"x must hold real numbers, got {describe(x)}")
        dtype = torch.promote_types(self.numerator.dtype, x.dtype)
        rows = (self.numerator.to(dtype), self.denominator.to(dtype))
        if self.domain is not None:
            wide = torch.promote_types(dtype, self.domain.dtype)
            x, (low, high) = x.to(wide), self.domain.to(wide).unbind()
            x = (x - (low / 2 + high / 2)) / (high / 2 - low / 2)  # halves, which do not overflow
        P, Q = (_polynomial(x.to(dtype), row) for row in rows)
        return P, Q

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        """Convert the head, but keep a domain in float32, or wider where this merges its ends."""
        old = self.domain
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        new = self.domain
        if old is not None and new is not None and new.element_size() < old.element_size():
            narrow = old.to(new.device, torch.float32)
            merged = not narrow.is_meta and bool(narrow[0] == narrow[1])
            self.domain = old.to(new.device) if merged else narrow
        return self


def _checked_domain(domain: Sequence[float]) -> Tensor:
    """Return the ends of a domain; ValueError unless they are finite, and ascend as rounded."""
    dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
    try:
        ends = torch.as_tensor(domain, dtype=dtype, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"domain must be two numbers (low, high), got {describe(domain)}") from None
    if not (ends.shape == (2,) and ends.isfinite().all() and ends[0] / 2 < ends[1] / 2):
        raise ValueError(
            f"domain must be two finite numbers (low, high) with low < high, also in {ends.dtype}, "
            f"got {domain!r}; take the least and the largest input"
        )
    return ends.to(torch.get_default_device(), copy=True)  # such as meta, where nothing is checked


class SCMRationalLayer(nn.Module):
    """``P(x) / Q(x)`` with its mask of ⊥, elementwise: a projective head, decoded strictly.

    Args:
        numerator_degree, denominator_degree, domain: as in :class:`ProjectiveRationalHead`.
        tau: ``|Q| < tau`` decodes to ⊥; ≥ 0.
        gradient_policy: the policy of this layer, also inside a scope; None takes that of the
            scope, else the default of the class: CLAMP.

    Raises ValueError for what the head refuses, a negative threshold and an unknown policy.

    Meets: DEC-1, POL-8.

    Example:
        >>> value, bottom = SCMRationalLayer(1, 1)(torch.tensor([0.5, torch.inf]))
        >>> value.tolist(), bottom.tolist()
        ([0.5, 0.0], [False, True])
    """

    @explains(basis="it has powers only", singular_epsilon="it is called tau")
    def __init__(
        self,
        numerator_degree: int,
        denominator_degree: int,
        *,
        domain: tuple[float, float] | None = None,
        tau: float = 0.0,
        gradient_policy: GradientPolicy | str | None = None,
    ) -> None:
        super().__init__()
        self.tau = check_number("tau", tau, "[0, ∞)")
        self.head = ProjectiveRationalHead(numerator_degree, denominator_degree, domain=domain)
        given = gradient_policy
        self.gradient_policy = None if given is None else GradientPolicy.parse(given)

    def forward(
        self, x: Float[Tensor, "*shape"]
    ) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
        """Return the value (0 under the mask) and the mask of ⊥."""
        P, Q = self.head.evaluate(x)
        bottom = tuple_bottom(P, Q, self.tau) | ~torch.isfinite(x)
        # The select comes before the quotient, so that ⊥ has a gradient of 0, not 0 · ∞.
        P, Q = P.masked_fill(bottom, 0.0), Q.masked_fill(bottom, 1.0)
        return apply_policy(quotient(P, Q), bottom, self.gradient_policy, layer=self), bottom


set_default(ProjectiveRationalHead, GradientPolicy.PASSTHROUGH)
set_default(SCMRationalLayer, GradientPolicy.CLAMP)
