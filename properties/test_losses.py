"""LOSS: values and gradients of the fits, the margin and the sign, against exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from properties.compare import assert_same, exact, floats, without_shape_checks
from properties.problems import (
    Loss,
    Problem,
    Row,
    assert_close,
    assert_masked_out,
    problem,
    problems,
)
from properties.tensor_strategies import dtypes, masks
from spec import losses as exactly
from zeroproof.losses import chordal_loss, implicit_loss, margin_loss, sign_consistency_loss

GAMMA = 1e-9
FAR = problem([(1e-25, 1e-25, 1e30, 1.0)], torch.float32)
NEARLY_ORTHOGONAL = problem(
    [(-1.1746141910552979, -2.851872205734253, -0.9041687846183777, 0.37200161814689636)],
    torch.float32,
)

LOSSES: dict[str, Loss] = {
    "implicit": partial(implicit_loss, gamma=GAMMA),
    "chordal": chordal_loss,
    "margin": lambda P, Q, Y_n, Y_d: margin_loss(Q, 0.5),
    "sign": partial(sign_consistency_loss),
}
names = st.sampled_from(sorted(LOSSES))


def _check_value(case: Problem, loss: str, terms: list[Fraction], guard: Fraction) -> None:
    value, *_ = case.evaluate(LOSSES[loss])
    ceiling = case.form.largest / (4 * len(terms))
    scales = [min(exactly.scale(loss, *row, guard), ceiling) for row in case.rows]
    slack = exactly.tolerance(loss, case.form.epsilon, scales) + case.form.smallest_normal
    assert_close(value, exactly.mean(terms), slack, f"{loss} of {case}")


def _check_gradient(
    case: Problem,
    loss: str,
    gradients: list[tuple[Fraction, Fraction]],
    guard: Fraction,
    compared: list[bool],
) -> None:
    _, *found = case.evaluate(LOSSES[loss])
    count, form = len(case.rows), case.form
    for part, gradient in enumerate(found):
        for index, row in enumerate(case.rows):
            expected = gradients[index][part] / count
            if abs(expected) > form.largest:
                continue
            what = f"{loss} gradient {part} at element {index} of {case}"
            size = exactly.gradient_scale(loss, *row, guard)[part]
            slack = exactly.gradient_tolerance(loss, form.epsilon, size, count)
            slack += exactly.underflow(*row[:2], form.smallest_normal, form.epsilon)
            if compared[index]:
                assert_close(gradient[index], expected, slack, what)
            else:
                assert math.isfinite(floats(gradient[index])[0]), f"{what}: not finite"


def _implicit(case: Problem) -> tuple[list[Fraction], list[bool]]:
    count, largest = len(case.rows), case.form.largest
    terms = [exactly.implicit(*row, Fraction(GAMMA)) for row in case.rows]
    below = [term < Fraction(99, 100) * largest / (4 * count) for term in terms]
    return [exactly.saturate(term, largest, count) for term in terms], below


@given(problems())
@example(FAR)
def test_LOSS_1_value(case: Problem) -> None:
    """The implicit loss is the exact mean, each term bounded so that the sum is finite."""
    _check_value(case, "implicit", _implicit(case)[0], Fraction(GAMMA))


@given(problems())
@example(FAR)
def test_LOSS_1_gradient(case: Problem) -> None:
    """So is its gradient, with the denominator held constant; finite where a term saturates."""
    gradients = [exactly.implicit_gradient(*row, Fraction(GAMMA)) for row in case.rows]
    _check_gradient(case, "implicit", gradients, Fraction(GAMMA), _implicit(case)[1])


@given(problems())
@example(FAR)
def test_LOSS_2_value(case: Problem) -> None:
    """The chordal loss is the exact mean of squared sines, in [0, 1]."""
    _check_value(case, "chordal", [exactly.chordal(*row) for row in case.rows], Fraction(0))
    (value,) = floats(case.evaluate(chordal_loss)[0])
    assert 0 <= value <= 1, f"chordal of {case} is {value!r}"


@given(problems())
@example(FAR)
@example(NEARLY_ORTHOGONAL)
def test_LOSS_2_gradient(case: Problem) -> None:
    """Its gradient is the exact one."""
    gradients = [exactly.chordal_gradient(*row) for row in case.rows]
    _check_gradient(case, "chordal", gradients, Fraction(0), [True] * len(gradients))


@given(problems())
def test_LOSS_2_geometry(case: Problem) -> None:
    """The gradient is orthogonal to (P, Q) and at most 1/‖(P, Q)‖ long."""
    _, in_P, in_Q = case.evaluate(chordal_loss)
    count, slack = len(case.rows), 64 * case.form.epsilon
    for row, g_P, g_Q in zip(case.rows, exact(in_P), exact(in_Q), strict=True):
        P, Q = row[:2]
        size, length = P * P + Q * Q, (g_P * g_P + g_Q * g_Q) * count**2
        assert length * size <= (1 + slack) ** 2, f"gradient ({g_P}, {g_Q}) of {case} is too long"
        along = abs(P * g_P + Q * g_Q) * count
        assert along <= slack, f"gradient of {case} leaves the circle by {float(along):.3g}"


@given(problems(), st.integers(-3, 3), st.integers(-3, 3), st.sampled_from([1, -1]))
def test_LOSS_2_invariance(case: Problem, k: int, m: int, sign: int) -> None:
    """Scaling either tuple by ±2ᵏ changes no bit of the value: it is a distance of lines."""
    ours, theirs = sign * 2.0**k, 2.0**m
    middle = [x if 1e-30 < abs(x) < 1e30 else 0.0 for row in case.rows for x in map(float, row)]
    base = problem(list(zip(*[iter(middle)] * 4, strict=True)), case.P.dtype)
    other = Problem(base.P * ours, base.Q * ours, base.Y_n * theirs, base.Y_d * theirs)
    before, after = (x.evaluate(chordal_loss)[0] for x in (base, other))
    assert_same(after, before, f"chordal of {base} scaled by {ours} and {theirs}")


def test_LOSS_2_is_what_implicit_is_not() -> None:
    """For P = Q the angle to 2 has sin² = 0.1 at every size; the implicit loss rewards 1e-6."""
    for size in (1e-30, 1e-6, 1.0, 1e30):
        case = problem([(size, size, 2.0, 1.0)], torch.float32)
        _check_value(case, "chordal", [Fraction(1, 10)], Fraction(0))
    shrunk = problem([(1e-6, 1e-6, 2.0, 1.0)], torch.float32).evaluate(LOSSES["implicit"])[0]
    assert floats(shrunk)[0] < 1.1e-3, "γ rewards shrinking"


@given(problems(), st.floats(0.0, 1e18), masks((5,)))
def test_LOSS_3_margin(case: Problem, tau: float, mask: Tensor) -> None:
    """The exact mean of max(0, τ − |Q|)² under the mask, and its gradient; 0 if none."""
    mask = mask[: len(case.rows)]
    run = partial(margin_loss, tau=tau, mask=mask)
    value, _, in_Q = case.evaluate(lambda P, Q, Y_n, Y_d: run(Q))
    chosen = [row for row, kept in zip(case.rows, mask.tolist(), strict=True) if kept]
    guard, form = Fraction(tau), case.form
    scales = [guard * guard] * len(chosen)
    slack = exactly.tolerance("margin", form.epsilon, scales) + form.smallest_normal
    expected = exactly.mean([exactly.margin(row[1], guard) for row in chosen])
    assert_close(value, expected, slack, f"margin of {case} at {tau} under {mask!r}")
    for row, kept, found in zip(case.rows, mask.tolist(), in_Q, strict=True):
        count = max(len(chosen), 1)
        size = exactly.gradient_scale("margin", *row, guard)[1]
        slack = exactly.gradient_tolerance("margin", form.epsilon, size, count)
        want = exactly.margin_gradient(row[1], guard) / count if kept else Fraction(0)
        assert_close(found, want, slack + form.smallest_normal, f"margin of {case} at {tau}")


def test_LOSS_3_finite() -> None:
    """The margin is finite for every valid τ, as a threshold may be anything finite."""
    for tau in (1e18, 1e20, 1e38, 1e300):
        value = margin_loss(torch.zeros(2), tau)
        assert bool(torch.isfinite(value)), f"margin at τ = {tau} is {value!r}"


def _oriented(case: Problem) -> list[Row]:
    return [row for row in case.rows if row[3] == 0]


@given(problems())
@example(problem([(-1.0, 0.0, 1.0, 0.0), (-1.0, 1e-4, 1.0, 0.0)], torch.float32))
def test_LOSS_4_value(case: Problem) -> None:
    """The exact mean of 1 − cos over oriented targets, in [0, 2]; 0 if there is none."""
    bounds = [exactly.sign_consistency(*row) for row in _oriented(case)]
    value, *_ = case.evaluate(sign_consistency_loss)
    slack = exactly.tolerance("sign", case.form.epsilon, [Fraction(1)] * len(bounds))
    middle = exactly.mean([(low + high) / 2 for low, high in bounds])
    assert_close(value, middle, slack + case.form.smallest_normal, f"sign of {case}")
    assert 0 <= floats(value)[0] <= 2, f"sign of {case} is {value!r}"


@given(problems())
@example(problem([(-1.0, 1e-4, 1.0, 0.0)], torch.float32))
@example(problem([(-1.0, 3e-4, 1.0, 0.0)], torch.float32))
def test_LOSS_4_gradient(case: Problem) -> None:
    """Its gradient is the exact one, and 0 at every target without orientation."""
    _, *found = case.evaluate(sign_consistency_loss)
    count, form = max(len(_oriented(case)), 1), case.form
    for index, row in enumerate(case.rows):
        exact_bounds = exactly.sign_gradient(*row)
        for part, gradient in enumerate(found):
            low, high = exact_bounds[part] if row[3] == 0 else (Fraction(0), Fraction(0))
            size = exactly.gradient_scale("sign", *row, Fraction(0))[part]
            slack = exactly.gradient_tolerance("sign", form.epsilon, size, count)
            what = f"sign gradient {part} at element {index} of {case}"
            if row[3] != 0:
                assert floats(gradient[index]) == [0.0], f"{what} has no orientation"
            elif abs(high) / count <= form.largest:
                expected = (low + high) / 2 / count
                assert_close(gradient[index], expected, slack + form.smallest_normal, what)


@given(problems(), masks((5,)))
def test_LOSS_4_unoriented(case: Problem, oriented: Tensor) -> None:
    """Targets that are not oriented contribute nothing, whatever their lift (NaN's is +∞'s)."""
    oriented = oriented[: len(case.rows)]
    run = partial(sign_consistency_loss, oriented=oriented)
    kept = Problem(*(x[oriented] for x in case.tensors))
    everything = torch.ones(int(oriented.sum()), dtype=torch.bool)
    alone = kept.evaluate(partial(sign_consistency_loss, oriented=everything))[0]
    (value,), (expected,) = floats(case.evaluate(run)[0]), floats(alone)
    slack = float(case.form.epsilon) * 4 * len(case.rows)
    assert abs(value - expected) <= slack, f"sign of {case} under {oriented!r}: {value!r}"


@given(names, dtypes)
def test_LOSS_no_tuple(loss: str, dtype: torch.dtype) -> None:
    """At (0, 0) chordal and sign are at a right angle, implicit is 0, and no gradient flows."""
    case = problem([(0.0, -0.0, 1.0, 0.0)], dtype)
    value, *gradients = case.evaluate(LOSSES[loss])
    expected = {"chordal": 1.0, "sign": 1.0, "implicit": 0.0, "margin": 0.25}[loss]
    assert floats(value) == [expected], f"{loss} at (0, 0) is {value!r}"
    for gradient in gradients:
        assert floats(gradient) == [0.0], f"{loss} at (0, 0) has gradient {gradient!r}"


@given(problems(dtypes), names)
def test_LOSS_wide(case: Problem, loss: str) -> None:
    """Computed in float32 or wider: half precision counts as its float32, autocast as nothing."""
    wide = torch.promote_types(case.P.dtype, torch.float32)
    value, *gradients = case.evaluate(LOSSES[loss])
    promoted = Problem(*(x.to(wide) for x in case.tensors))
    reference, *wide_gradients = promoted.evaluate(LOSSES[loss])
    assert_same(value, reference, f"{loss} of {case}")
    for ours, theirs in zip(gradients, wide_gradients, strict=True):
        assert_same(ours, theirs.to(case.P.dtype), f"{loss} gradient of {case}")
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(case.evaluate(LOSSES[loss])[0], reference, f"{loss} of {case} in autocast")


@given(problems(least=1), names, st.sampled_from(["column", "longer"]))
def test_LOSS_shapes(case: Problem, loss: str, how: str) -> None:
    """Shapes that do not match are a ValueError, never a broadcast; so are masks that do not."""
    size = len(case.rows)
    wrong = (size, 1) if how == "column" else (size + 1,)
    mask = torch.ones(wrong, dtype=torch.bool)
    masked: dict[str, Loss] = {
        "implicit": partial(implicit_loss, mask=mask),
        "chordal": partial(chordal_loss, mask=mask),
        "margin": lambda P, Q, Y_n, Y_d: margin_loss(Q, 0.5, mask=mask),
        "sign": partial(sign_consistency_loss, oriented=mask),
    }
    with without_shape_checks():
        with pytest.raises(ValueError, match="shape"):
            masked[loss](*case.tensors)
        if loss != "margin":
            other = torch.ones(wrong, dtype=case.P.dtype)
            with pytest.raises(ValueError, match="shape"):
                LOSSES[loss](case.P, case.Q, other, other)


@given(problems(), names, masks((5,)), st.sampled_from([math.nan, math.inf, -math.inf, 1e38]))
def test_LOSS_7_masks_select(case: Problem, loss: str, mask: Tensor, poison: float) -> None:
    """A masked NaN or ±∞ reaches neither a value nor a gradient."""

    def run(case: Problem, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        masked: dict[str, Loss] = {
            "implicit": partial(implicit_loss, mask=mask),
            "chordal": partial(chordal_loss, mask=mask),
            "margin": lambda P, Q, Y_n, Y_d: margin_loss(Q, 0.5, mask=mask),
            "sign": partial(sign_consistency_loss, oriented=mask),
        }
        return case.evaluate(masked[loss])

    assert_masked_out(run, case, mask[: len(case.rows)], poison)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_LOSS_empty(loss: str) -> None:
    """Without elements a loss is 0, not NaN."""
    value = LOSSES[loss](*[torch.zeros(0)] * 4)
    assert floats(value) == [0.0], f"{loss} of nothing is {value!r}"
