"""Predicted tuples with lifted targets, over the whole range of magnitudes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from hypothesis import strategies as st
from torch import Tensor

from properties.compare import assert_same, backward, exact, floats, gradient_of, leaf, name_of
from properties.tensor_strategies import magnitudes, wide_dtypes
from spec.bottom import FORMATS, Format

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Row = tuple[Fraction, Fraction, Fraction, Fraction]


@dataclass(frozen=True)
class Problem:
    """Predictions and targets, alike in shape and dtype."""

    P: Tensor
    Q: Tensor
    Y_n: Tensor
    Y_d: Tensor

    @property
    def form(self) -> Format:
        """The format in which a loss is computed."""
        wide = self.P.dtype if self.P.dtype == torch.float64 else torch.float32
        return FORMATS[name_of(wide)]

    @property
    def rows(self) -> list[Row]:
        """The tuples, element by element."""
        return list(zip(*(exact(x) for x in self.tensors), strict=True))

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four parts, in the order of the losses' arguments."""
        return self.P, self.Q, self.Y_n, self.Y_d

    def evaluate(self, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Return a loss's value and its gradients in P and Q."""
        P, Q = leaf(self.P), leaf(self.Q)
        value = loss(P, Q, self.Y_n, self.Y_d)
        backward(value)
        return value.detach(), gradient_of(P), gradient_of(Q)


def problem(rows: list[tuple[float, float, float, float]], dtype: torch.dtype) -> Problem:
    """Build a problem from rows ``P, Q, Y_n, Y_d``."""
    columns = torch.tensor(rows, dtype=torch.float64).to(dtype).reshape(-1, 4).unbind(1)
    return Problem(*columns)


@st.composite
def _target(draw: st.DrawFn, dtype: torch.dtype, lifted: bool) -> tuple[float, float]:
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(st.sampled_from([1.0, -1.0])), 0.0
    if kind == 1 or lifted:
        return draw(magnitudes(dtype)), 1.0
    return draw(magnitudes(dtype)), draw(magnitudes(dtype))


def _resized(a: float, b: float, size: float) -> tuple[float, float]:
    largest = max(abs(a), abs(b))
    return (a / largest * size, b / largest * size) if largest else (0.0, 0.0)


@st.composite
def _row(draw: st.DrawFn, dtype: torch.dtype, lifted: bool) -> tuple[float, float, float, float]:
    Y_n, Y_d = draw(_target(dtype, lifted))
    kind = draw(st.sampled_from(["free", "alike", "parallel", "orthogonal", "zero"]))
    size = draw(magnitudes(dtype, -30, 30))
    turn = draw(st.sampled_from([0.0, 1e-7, 1e-4, 1e-2])) * draw(st.sampled_from([1.0, -1.0]))
    if kind == "zero":
        return 0.0, 0.0, Y_n, Y_d
    if kind == "free":
        return draw(magnitudes(dtype)), draw(magnitudes(dtype)), Y_n, Y_d
    if kind == "alike":
        P, Q = _resized(draw(st.floats(-1.0, 1.0)), 1.0, size)
        return P, Q, Y_n, Y_d
    y_n, y_d = _resized(Y_n, Y_d, 1.0)
    p, q = (y_n, y_d) if kind == "parallel" else (-y_d, y_n)
    P, Q = _resized(p - turn * q, q + turn * p, size)
    return P, Q, Y_n, Y_d


def _normal(x: float, dtype: torch.dtype) -> float:
    """Replace what is subnormal in the dtype: there a float's own rounding is not relative."""
    smallest = float(torch.finfo(dtype).smallest_normal)
    return x if abs(x) >= smallest else math.copysign(0.0, x)


@st.composite
def problems(
    draw: st.DrawFn,
    dtypes: st.SearchStrategy[torch.dtype] = wide_dtypes,
    *,
    lifted: bool = False,
    least: int = 1,
) -> Problem:
    """Draw problems whose numbers are 0 or lie between 1e-38 and 1e38, and are normal.

    Predictions are of any size, and often nearly parallel or orthogonal to their target.
    """
    dtype = draw(dtypes, label="dtype")
    rows = draw(st.lists(_row(dtype, lifted), min_size=least, max_size=5), label="rows")
    return problem([tuple(_normal(x, dtype) for x in row) for row in rows], dtype)  # type: ignore[misc]


def assert_close(actual: Tensor, expected: Fraction, slack: Fraction, what: str) -> None:
    """Fail unless a finite scalar lies within a distance of an exact number."""
    (value,) = floats(actual)
    assert math.isfinite(value), f"{what}: got {value!r}, expected {float(expected)!r}"
    distance = abs(Fraction(value) - expected)
    assert distance <= slack, (
        f"{what}: got {value!r}, expected {float(expected)!r}, "
        f"off by {float(distance):.3g} > {float(slack):.3g}"
    )


def assert_masked_out(
    run: Callable[[Problem, Tensor], tuple[Tensor, Tensor, Tensor]],
    case: Problem,
    mask: Tensor,
    poison: float,
) -> None:
    """Fail unless what a mask leaves out reaches neither the value nor a gradient."""
    poisoned = Problem(*(x.masked_fill(~mask, poison) for x in case.tensors))
    (clean, *clean_gradients), (dirty, *dirty_gradients) = run(case, mask), run(poisoned, mask)
    what = f"with {poison} masked out of {case} by {mask!r}"
    assert_same(dirty, clean, f"value {what}")
    for ours, theirs in zip(dirty_gradients, clean_gradients, strict=True):
        assert_same(ours[mask], theirs[mask], f"gradient {what}")
        assert not bool(ours[~mask].any()), f"gradient {ours!r} {what}"
