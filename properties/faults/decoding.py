"""Decodes that go wrong."""

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from properties.faults.register import fault, zeroproof_fault
from spec import Array
from spec.decoding import Strict, Tuples
from spec.formats import nearest
from spec.quotients import Decoded
from spec.ranges import Graded
from zeroproof.inference import Decoded as Decode
from zeroproof.inference import InferenceConfig, strict_inference

FORWARD = "zeroproof.inference.strict.SCMInferenceWrapper.forward"


def _with_gap(strict: Strict, case: Tuples, gaps: Callable[[float, bool], bool]) -> Strict:
    """Return a decode whose gap holds more: what a denominator, and whether it is ⊥, decide."""
    rows = zip((Q for _, Q in case.rows), strict.bottom, strict.gap, strict=True)
    return replace(strict, gap=tuple(gap or gaps(Q, bottom) for Q, bottom, gap in rows))


def _without_sides(graded: Graded) -> Graded:
    value = graded.strict.value
    lost = value.with_values([y if math.isfinite(y) else math.nan for y in value.values])
    return replace(graded, strict=replace(graded.strict, value=lost))


def _decoded(tuples: Any, config: InferenceConfig | None = None) -> Decode:
    return strict_inference(tuples[0], tuples[1], config)


def _rounded_twice(real: Any, case: Tuples, row: Any, decoded: Decoded) -> float:
    right: float = real(case, row, decoded)
    if case.P.dtype != "float64" or not 1e-300 < abs(right) < math.inf:
        return right
    unit = Fraction(2) ** (math.frexp(right)[1] - 64)
    return float(round(Fraction(decoded.value) / unit) * unit)  # type: ignore[arg-type]


fault("DEC-1.1", "A numerator NaN is taken for 0.",
    one=lambda real, case, P, Q: real(case, 0.0 if math.isnan(P) else P, Q))
fault("DEC-1.1", "(0, 0) has no direction, and is taken for the value 0 in the unit gauge.",
    one=lambda real, case, P, Q: (Decoded(Fraction(0), False)
        if (case.gauge, P, Q) == ("unit", 0, 0) else real(case, P, Q)))
fault("DEC-1.2", "τ is rounded to the tensors' dtype before it is compared.",
    decode=lambda real, case: real(replace(case, tau_infer=nearest(case.P.dtype, case.tau_infer))))
fault("DEC-1.3", "A quotient that overflows is a value.",
    one=lambda real, case, P, Q: real(replace(case, P=replace(case.P, dtype="float64")), P, Q))
fault("DEC-1.3", "A denominator at the threshold is taken to lie below it.",
    one=lambda real, case, P, Q: real(case, math.nan if abs(Q) == case.tau_infer else P, Q))
fault("DEC-1.4", "An ε keeps the denominator from 0.",
    value_of=lambda real, *a: real(*a) / (1 + 1e-3))
fault("DEC-1.4", "A quotient is rounded to an extended format first.", value_of=_rounded_twice)
fault("DEC-1.4", "What vanishes loses its sign.", value_of=lambda real, *a: real(*a) + 0.0)
fault("DEC-1.5", "Values are float64.",
    decode=lambda real, case: replace(real(case), value=replace(real(case).value, dtype="float64")))
fault("DEC-2.1", "A denominator at τ_train lies in the gap.",
    decode=lambda real, case: _with_gap(
        real(case), case, lambda Q, bottom: not bottom and abs(Q) == case.tau_train))
fault("DEC-2.2", "Everything below τ_train is in the gap, ⊥ included.",
    decode=lambda real, case: _with_gap(real(case), case, lambda Q, _: abs(Q) < case.tau_train))
fault("DEC-3.1", "Q itself is compared with τ, not |Q|.",
    one=lambda real, case, P, Q: real(case, P, 0.0 if case.tau_infer > Q else Q))
fault("DEC-4.1", "The gauge is taken to be the unit one.",
    decode=lambda real, case: real(replace(case, gauge="unit")))
fault("DEC-4.2", "The gauge is ignored.",
    decode=lambda real, case: real(replace(case, gauge="raw")))
fault("DEC-4.3", "An ε is added to the denominator of the value.",
    value_of=lambda real, case, row, decoded:
        (real(case, row, decoded) / (1 + 1e-3 / (abs(row[1]) or 1.0))))
fault("DEC-4.4", "Norms beyond 16 are taken for 16.",
    one=lambda real, case, P, Q:
        real(replace(case, gauge="raw", tau_infer=16 * case.tau_infer,
            tau_train=16 * case.tau_train)
        if case.gauge == "unit" and math.hypot(P, Q) > 16 else case, P, Q))
fault("DEC-5.1", "A τ above 1 is taken for a percentage.",
    decode=lambda real, case:
        real(replace(case, tau_infer=case.tau_infer / (100 if case.tau_infer > 1 else 1))))
fault("DEC-5.2", "Values are damped by τ.",
    value_of=lambda real, case, *a: real(case, *a) / (1 + case.tau_infer))
fault("DEC-6.1", "Shapes are broadcast.",
    decode=lambda real, case: real(replace(case, Q=replace(case.Q, shape=case.P.shape))))
fault("DEC-6.2", "Crossed thresholds are swapped in silence.",
    decode=lambda real, case: real(replace(case, tau_train=max(case.tau_infer, case.tau_train))))
zeroproof_fault("DEC-6.2", "Thresholds are not checked.",
    "zeroproof.inference.strict.check_thresholds", lambda real, *ends: ends[:2])
fault("DEC-6.3", "An unknown gauge is taken for the raw one.",
    decode=lambda real, case: real(replace(case, gauge="unit" if case.gauge == "unit" else "raw")))
fault("DEC-7.1", "Ends are rounded to the tensors' dtype before they are compared.",
    decode_within=lambda real, case, *ends: real(case, *(nearest(case.P.dtype, y) for y in ends)))
fault("DEC-7.1", "The ends lie outside.",
    side=lambda real, y, lower, upper: (y >= upper) - (y <= lower))
fault("DEC-7.2", "A value outside the range becomes NaN, and its side is lost.",
    decode_within=lambda real, *a: _without_sides(real(*a)))
fault("DEC-7.3", "What has no value is taken to lie above the range.",
    side=lambda real, y, *ends: 1 if math.isnan(y) else real(y, *ends))
fault("DEC-7.4", "Values outside are clamped after the decode, and keep their gradients.",
    only=lambda real, x, inside: x)
fault("DEC-7.5", "Ends that cross are taken.", check_range=lambda real, *ends: None)
fault("DEC-9.1", "A shared denominator serves the first output alone.",
    decode_shared=lambda real, case: real(replace(
        case, P=case.P.with_values([x if i % case.P.shape[-1] == 0 else 0.0
                                    for i, x in enumerate(case.P.values)]))))
zeroproof_fault("DEC-8.1", "The wrapper decodes in train mode, too.", FORWARD,
    lambda real, self, *a: (_decoded(self.model(*a), self.config)[:2] if self.training
        else real(self, *a)))
zeroproof_fault("DEC-8.1", "The wrapper detaches the tuples.", FORWARD,
    lambda real, self, *a: ([part.detach() for part in self.model(*a)] if self.training
        else real(self, *a)))
zeroproof_fault("DEC-8.2", "The wrapper decodes at the default thresholds.", FORWARD,
    lambda real, self, *a: real(self, *a) if self.training else _decoded(self.model(*a)))
fault("DEC-8.2", "The wrapper ignores the gauge.",
    wrapped=lambda real, case, modes: real(replace(case, gauge="raw"), modes))
fault("POL-10.1", "The denominator is a constant to the gradient.",
    decode_gradients=lambda real, case: (real(case)[0], Array.full(0.0, case.Q)))
fault("POL-10.1", "The gradient divides by Q², which underflows.",
    decode_gradients=lambda real, case: (real(case)[0], case.Q.with_values(
        [g if Q * Q else -math.inf for g, Q in zip(
            real(case)[1].values, case.Q.values, strict=True)])))
fault("POL-10.2", "A gradient passes a ⊥ element.",
    decode_gradients=lambda real, case:
        (case.P.with_values([x or 1.0 for x in real(case)[0].values]), real(case)[1]))
fault("DEC-7.6", "An inference wrapper has no range.",
    decode_within=lambda real, case, *ends: replace(real(case, *ends), wrapped=real(
        case, -math.inf, math.inf).wrapped))
