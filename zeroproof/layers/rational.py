"""Learnable rational functions of one variable, smooth and strict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zeroproof.autodiff.policies import GradientPolicy, apply_policy, get_policy, register_policy
from zeroproof.scm.outputs import as_tuple, gate_outputs, reaches
from zeroproof.utils.checks import check_thresholds

_PIECE = 2**15


def _waits(x: Tensor) -> bool:
    return not x.is_cpu or torch.compiler.is_compiling()


class _Polynomials(torch.autograd.Function):
    """Polynomials of the same ``x`` by Horner's rule; keeps ``x`` and the coefficients only.

    On a CPU they are evaluated, and differentiated, in pieces that stay in its cache.

    What calls this must not be compiled: traced, torch 2.11 loses the gradient of what is written
    in place, and torch 2.13 every policy behind functions of several outputs.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, *rows)
        found = tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for _ in rows)
        for piece, *outs in _pieces(x, *found):
            for row, out in zip(rows, outs, strict=True):
                _horner(row, piece, out)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *rows = ctx.saved_tensors
        if torch.is_grad_enabled():  # this is to be differentiated again
            values, inputs = [_horner(row, _defined(x)) for row in rows], (x, *rows)
            wanted = [t for t in inputs if t.requires_grad]
            again = {"create_graph": True, "materialize_grads": True}
            found = iter(torch.autograd.grad(values, wanted, gradients, **again))
            return tuple(next(found) if t.requires_grad else None for t in inputs)
        in_x = torch.zeros_like(x, memory_format=torch.contiguous_format)
        needed = ctx.needs_input_grad[0]
        parts = [
            _slopes(_defined(piece), rows, own, out if needed else None)
            for piece, out, *own in _pieces(x, in_x, *gradients)
        ]
        sums = [torch.stack(part).sum(dim=0) for part in zip(*parts, strict=True)]
        return in_x if needed else None, *sums


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    size = max(tensors[0].numel(), 1) if _waits(tensors[0]) else _PIECE
    return zip(*(torch.split(t.flatten(), size) for t in tensors), strict=True)


def _defined(x: Tensor) -> Tensor:
    """Where ``x`` is ⊥ no power of it may reach the coefficients: 0 · NaN is NaN."""
    return x.nan_to_num(0.0, 0.0, 0.0)


def _horner(row: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
    if len(row) == 1:
        value = row[0].expand_as(x)
        return value.clone() if out is None else out.copy_(value)
    *lower, last, highest = row.unbind()
    result = torch.addcmul(last, highest, x, out=out)
    for coefficient in reversed(lower):
        result = torch.addcmul(coefficient, result, x, out=out)
    return result


def _slopes(
    x: Tensor, rows: Sequence[Tensor], gradients: Sequence[Tensor], in_x: Tensor | None
) -> list[Tensor]:
    """Add the gradient in ``x``, if wanted; return those in the rows of coefficients."""
    in_rows = []
    for row, gradient in zip(rows, gradients, strict=True):
        if in_x is not None and len(row) > 1:
            slopes = row[1:] * torch.arange(1, len(row), device=row.device)
            part = _horner(slopes, x, torch.empty_like(x)).mul_(gradient)
            if _waits(part) or not math.isfinite(part.sum().item()):
                # A gradient of 0 stays 0, also where the slope is too large a number.
                part.masked_fill_(gradient == 0, 0.0)
            in_x.add_(part)
        product, sums = gradient.clone(), [gradient.sum()]
        sums += [product.mul_(x).sum() for _ in range(1, len(row))]
        in_rows.append(torch.stack(sums))
    return in_rows


class _Quotient(torch.autograd.Function):
    """``P / Q`` where it and ``x`` are not ⊥; elsewhere 0, with a gradient of 0.

    A mask costs more than the arithmetic, so one is made only where there may be a ⊥.
    """

    @staticmethod
    def forward(ctx: Any, P: Tensor, Q: Tensor, x: Tensor, tau: float) -> tuple[Tensor, Tensor]:
        ctx.masked = _waits(P)
        if ctx.masked:
            value, bottom = _masked(P / Q, Q.abs(), x, tau)
        else:
            value, bottom = torch.empty_like(P), torch.zeros_like(P, dtype=torch.bool)
            for p, q, given, v, b in _pieces(P, Q, x, value, bottom):
                torch.div(p, q, out=v)
                size = q.abs()
                if not _sound(v, size, given, tau):
                    for out, part in zip((v, b), _masked(v, size, given, tau), strict=True):
                        out.copy_(part)
                    ctx.masked = True
        ctx.save_for_backward(Q, value, bottom)
        ctx.mark_non_differentiable(bottom)
        return value, bottom

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        Q, value, bottom = ctx.saved_tensors
        if ctx.masked:
            in_P = (gradient / Q.masked_fill(bottom, 1.0)).masked_fill_(bottom, 0.0)
        else:
            in_P = gradient / Q
        return in_P, (in_P * value).neg_(), None, None


def _largest(value: Tensor, size: Tensor, x: Tensor) -> Tensor:
    return torch.maximum(torch.maximum(value.abs(), size), x.abs())


def _sound(value: Tensor, size: Tensor, x: Tensor, tau: float) -> bool:
    """Tell whether all are numbers, of which ``size`` reaches ``tau``; False for none at all.

    No quotient by 0 is a number.
    """
    if not size.numel() or not size.amin().item() >= tau:
        return False
    return _largest(value, size, x).amax().item() < torch.inf


def _masked(value: Tensor, size: Tensor, x: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Return the value, 0 where it is ⊥, and where that is."""
    bottom = ~((_largest(value, size, x) < torch.inf) & reaches(size, tau))
    return value.masked_fill(bottom, 0.0), bottom


class ProjectiveRationalHead(nn.Module):
    """Two polynomials of the input: ``(P(x), Q(x))``, elementwise, smooth through poles.

    Starts as ``x / 1`` (as ``0 / 1`` for numerator degree 0). Coefficients are learned, lowest
    power first.

    Args:
        numerator_degree: degree of P, ≥ 0.
        denominator_degree: degree of Q, ≥ 0.

    Raises:
        ValueError: a negative degree.

    Meets: POL-8.

    Example:
        >>> P, Q = ProjectiveRationalHead(3, 2)(torch.tensor([2.0]))
        >>> P.item(), Q.item()
        (2.0, 1.0)
    """

    def __init__(self, numerator_degree: int, denominator_degree: int) -> None:
        super().__init__()
        for name, degree in (
            ("numerator_degree", numerator_degree),
            ("denominator_degree", denominator_degree),
        ):
            if degree < 0:
                raise ValueError(f"{name} must be ≥ 0, got {degree!r}")
        self.numerator = nn.Parameter(torch.zeros(numerator_degree + 1))
        self.denominator = nn.Parameter(torch.zeros(denominator_degree + 1))
        with torch.no_grad():
            if numerator_degree > 0:
                self.numerator[1] = 1.0
            self.denominator[0] = 1.0

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self, x: Float[Tensor, "*shape"]
    ) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
        """Return ``(P(x), Q(x))``."""
        return as_tuple(gate_outputs(self.evaluate(x), get_policy(self)))

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(P(x), Q(x))``, under no policy."""
        dtype = torch.promote_types(self.numerator.dtype, x.dtype)
        rows = (row.to(dtype) for row in (self.numerator, self.denominator))
        P, Q = _Polynomials.apply(x.to(dtype), *rows)  # type: ignore[no-untyped-call]
        return P, Q


class SCMRationalLayer(nn.Module):
    """``P(x) / Q(x)`` with its mask of ⊥, elementwise: a projective head, decoded strictly.

    Gradients of the values follow the policy in force (default CLAMP, registered for this class).

    Args:
        numerator_degree: degree of P, ≥ 0.
        denominator_degree: degree of Q, ≥ 0.
        tau: ``|Q| < tau`` decodes to ⊥; ≥ 0.

    Raises:
        ValueError: a negative degree or threshold.

    Meets: DEC-1, POL-8.

    Example:
        >>> value, bottom = SCMRationalLayer(1, 1)(torch.tensor([0.5, torch.inf]))
        >>> value.tolist(), bottom.tolist()
        ([0.5, 0.0], [False, True])
    """

    def __init__(self, numerator_degree: int, denominator_degree: int, *, tau: float = 0.0) -> None:
        super().__init__()
        check_thresholds(tau, tau, ("tau", "tau"))
        self.head = ProjectiveRationalHead(numerator_degree, denominator_degree)
        self.tau = tau

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self, x: Float[Tensor, "*shape"]
    ) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
        """Return the value (0 under the mask) and the mask of ⊥."""
        P, Q = self.head.evaluate(x)
        value, bottom = _Quotient.apply(P, Q, x.detach(), self.tau)  # type: ignore[no-untyped-call]
        return apply_policy(value, bottom, layer=self), bottom


register_policy(ProjectiveRationalHead, GradientPolicy.PASSTHROUGH)
register_policy(SCMRationalLayer, GradientPolicy.CLAMP)
