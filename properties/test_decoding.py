"""DEC: strict decode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import get_args

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import Tensor

from properties.compare import (
    assert_same,
    backward,
    exact,
    flags,
    floats,
    gradient_of,
    leaf,
    name_of,
    without_shape_checks,
)
from properties.tensor_strategies import DTYPES, dtypes, taus, tuples
from spec import decoding
from spec.bottom import BOTTOM, FORMATS, Bottom, round_to
from zeroproof.inference import Decoded, InferenceConfig, strict_inference

gauges = st.sampled_from(get_args(decoding.Gauge))


@dataclass(frozen=True)
class Case:
    """Tuples and the thresholds to decode them at."""

    P: Tensor
    Q: Tensor
    tau_infer: float
    tau_train: float
    gauge: decoding.Gauge

    @property
    def decoded(self) -> Decoded:
        """What zeroproof makes of it."""
        config = InferenceConfig(self.tau_infer, self.tau_train, self.gauge)
        return strict_inference(self.P, self.Q, config)

    @property
    def reference(self) -> list[decoding.Decoded]:
        """What the specification makes of it, element by element."""
        dtype_name = name_of(self.P.dtype)
        return [
            decoding.decode(p, q, self.tau_infer, self.tau_train, self.gauge, dtype_name)
            for p, q in zip(floats(self.P), floats(self.Q), strict=True)
        ]

    @property
    def certain(self) -> list[bool]:
        """Where no comparison of the unit gauge is so close that rounding may decide it."""
        return [
            self.gauge == "raw"
            or not (math.isfinite(p) and math.isfinite(q))
            or not any(
                decoding.near_unit_threshold(p, q, tau) for tau in (self.tau_infer, self.tau_train)
            )
            for p, q in zip(floats(self.P), floats(self.Q), strict=True)
        ]


@st.composite
def cases(draw: st.DrawFn, gauges: st.SearchStrategy[decoding.Gauge] = gauges) -> Case:
    """Draw tuples, and thresholds of which some equal a drawn denominator."""
    P, Q = draw(tuples(), label="P, Q")
    own = [abs(q) for q in floats(Q) if math.isfinite(q)]
    choices = st.one_of(taus(Q.dtype), st.sampled_from(own)) if own else taus(Q.dtype)
    low, high = sorted((draw(choices, label="tau"), draw(choices, label="tau")))
    return Case(P, Q, low, high, draw(gauges, label="gauge"))


@given(cases())
@example(Case(torch.ones(3).half(), torch.tensor([0.0, 6e-8, -1.0]).half(), 1e-9, 1e-9, "raw"))
@example(Case(torch.ones(1).half(), torch.tensor([6e-8]).half(), 6e-8, 1.0, "raw"))
def test_DEC_1_value_or_bottom(case: Case) -> None:
    """⊥ by the exact comparison, else the correctly rounded quotient."""
    decoded, dtype_name = case.decoded, name_of(case.P.dtype)
    results = zip(floats(decoded.value), flags(decoded.bottom), strict=True)
    for (value, bottom), reference, sure in zip(results, case.reference, case.certain, strict=True):
        if not sure:
            continue
        assert bottom == isinstance(reference.value, Bottom), f"{case}: mask {decoded!r}"
        found = BOTTOM if math.isnan(value) else value
        expected = round_to(dtype_name, reference.value)
        assert found == expected, f"{case}: got {decoded!r}, expected {expected!r}"


@given(st.sampled_from(DTYPES), st.sampled_from([1e-9, 1e-300, 5e-324]))
def test_DEC_1_tiny_threshold(dtype: torch.dtype, tau: float) -> None:
    """A τ that rounds to 0 in the dtype is still compared exactly."""
    step = float(FORMATS[name_of(dtype)].epsilon * FORMATS[name_of(dtype)].smallest_normal)
    Q = torch.tensor([0.0, -0.0, step, -step, 1.0], dtype=torch.float64).to(dtype)
    decoded = strict_inference(Q, Q, InferenceConfig(tau, tau))
    expected = [True, True, step < tau, step < tau, False]
    assert flags(decoded.bottom) == expected, f"τ = {tau} in {dtype}: {decoded!r}"


@given(cases())
@example(Case(torch.ones(2), torch.tensor([0.5, 0.75]), 0.5, 0.75, "raw"))
def test_DEC_2_gap(case: Case) -> None:
    """In the gap iff not ⊥, and the denominator is below τ_train."""
    decoded = case.decoded
    expected = [reference.gap for reference in case.reference]
    for found, gap, sure in zip(flags(decoded.gap), expected, case.certain, strict=True):
        assert found == gap or not sure, f"{case}: gap {decoded.gap!r}, expected {expected}"
    assert not bool((decoded.gap & decoded.bottom).any()), f"{case}: ⊥ in the gap"


@given(cases())
def test_DEC_3_antipodal(case: Case) -> None:
    """(−P, −Q) decodes as (P, Q), bitwise but for the sign of a zero."""
    decoded = case.decoded
    other = Case(-case.P, -case.Q, case.tau_infer, case.tau_train, case.gauge).decoded
    for ours, theirs in zip(decoded, other, strict=True):
        assert_same(theirs, ours, f"{case} and its antipode")


def _scaled(case: Case, factor: float) -> Case:
    P, Q = case.P * factor, case.Q * factor
    for before, after in ((case.P, P), (case.Q, Q)):
        assume(torch.equal(after.isfinite(), before.isfinite()))
        finite = before.isfinite()
        assume(torch.equal((after / factor)[finite], before[finite]))
    return Case(P, Q, case.tau_infer, case.tau_train, case.gauge)


@given(cases(st.just("unit")), st.integers(-6, 6), st.sampled_from([1.0, -1.0]))
def test_DEC_4_power_of_two(case: Case, exponent: int, sign: float) -> None:
    """With the unit gauge, scaling by ±2ᵏ changes no bit, as long as the scaling is exact."""
    scaled = _scaled(case, sign * 2.0**exponent)
    for ours, theirs in zip(case.decoded, scaled.decoded, strict=True):
        assert_same(theirs, ours, f"{case} scaled by {sign}·2^{exponent}")


@given(cases(st.just("unit")), st.integers(-40, 40).filter(bool))
def test_DEC_4_any_scale(case: Case, factor: int) -> None:
    """With the unit gauge, scaling by any λ ≠ 0 keeps ⊥ and gap away from the thresholds."""
    wide = Case(case.P.double(), case.Q.double(), case.tau_infer, case.tau_train, "unit")
    scaled = _scaled(wide, float(factor))
    ours, theirs = wide.decoded, scaled.decoded
    for index, sure in enumerate(wide.certain):
        for name in ("bottom", "gap"):
            before, after = (flags(getattr(x, name))[index] for x in (ours, theirs))
            assert before == after or not sure, f"{name} of {case} scaled by {factor}"


@given(dtypes, st.floats(0.01, 0.9))
def test_DEC_4_gauges_differ(dtype: torch.dtype, tau: float) -> None:
    """The raw gauge judges |Q|, the unit gauge the direction: small tuples tell them apart."""
    size = tau / 8
    P, Q = torch.zeros(1, dtype=dtype), torch.full((1,), size, dtype=dtype)
    raw = strict_inference(P, Q, InferenceConfig(tau, tau, "raw"))
    unit = strict_inference(P, Q, InferenceConfig(tau, tau, "unit"))
    assert flags(raw.bottom) == [True], f"|Q| = {size} is below {tau}"
    assert flags(unit.bottom) == [False], f"(0, {size}) is the exact value 0"


@given(cases(), taus())
def test_DEC_5_monotone(case: Case, other: float) -> None:
    """Raising τ never turns a ⊥ into a value."""
    low, high = sorted((case.tau_infer, other))
    config = [InferenceConfig(tau, max(tau, case.tau_train), case.gauge) for tau in (low, high)]
    loose, strict = (strict_inference(case.P, case.Q, c) for c in config)
    lost = loose.bottom & ~strict.bottom
    assert not bool(lost.any()), f"{case}: raising τ from {low} to {high} freed {lost!r}"
    kept = ~strict.bottom
    assert_same(strict.value[kept], loose.value[kept], f"values of {case} at both τ")


def _gradients(case: Case) -> tuple[Decoded, Tensor, Tensor]:
    P, Q = leaf(case.P), leaf(case.Q)
    config = InferenceConfig(case.tau_infer, case.tau_train, case.gauge)
    decoded = strict_inference(P, Q, config)
    backward(decoded.value, torch.ones_like(decoded.value))
    return decoded, gradient_of(P), gradient_of(Q)


@given(cases())
def test_DEC_1_no_gradient_at_bottom(case: Case) -> None:
    """A ⊥ element's gradient is 0 in P and in Q."""
    decoded, in_P, in_Q = _gradients(case)
    for gradient in (in_P, in_Q):
        assert not bool(gradient[decoded.bottom].any()), f"{case}: gradient {gradient!r}"


@given(cases(st.just("raw")))
def test_POL_10_bounded(case: Case) -> None:
    """A value's gradient is 1/Q and −P/Q², so bounded by 1/τ and |P|/τ²."""
    form, tau = FORMATS[name_of(case.P.dtype)], Fraction(case.tau_infer)
    decoded, *gradients = _gradients(case)
    keep = ~decoded.bottom
    columns = (exact(case.P[keep]), exact(case.Q[keep]), *(floats(g[keep]) for g in gradients))
    for P, Q, *found in zip(*columns, strict=True):
        bounds = (1 / tau, abs(P) / tau**2) if tau else (None, None)
        expected = decoding.gradient(float(P), float(Q))
        for got, want, bound in zip(found, expected, bounds, strict=True):
            if abs(want) > form.largest / 2 or abs(P / Q) < form.smallest_normal:
                continue
            slack = 4 * form.epsilon * abs(want) + form.smallest_normal
            assert abs(Fraction(got) - want) <= slack, f"{case}: {got} instead of {float(want)}"
            assert bound is None or abs(Fraction(got)) <= bound + slack, f"{case}: beyond {bound}"


@given(tuples())
def test_DEC_1_shapes(case: tuple[Tensor, Tensor]) -> None:
    """A P that does not match Q in shape is a ValueError, never a broadcast."""
    P, Q = case
    with without_shape_checks(), pytest.raises(ValueError, match="shape"):
        strict_inference(P, Q.unsqueeze(0))
