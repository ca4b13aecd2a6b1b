"""Layers: rational ones of any subject, and those of ``zeroproof``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradgradcheck
from torch.func import functional_call

from properties.assertions import HELD, assert_clause
from properties.strategies import dtypes, layouts, numbers, shapes, taus, wide_dtypes
from properties.subjects.zeroproof import ZeroProof
from spec import Array
from spec.policies import POLICIES
from spec.rational import Rational, Rationals
from zeroproof.autodiff import gradient_policy, register_policy
from zeroproof.layers import ProjectiveMLP, ProjectiveRationalHead
from zeroproof.layers.projective import HEADS

names = st.sampled_from(sorted(POLICIES))
# Small ones are exact in every operation, so that thresholds are met exactly.
exact = st.integers(-6, 6).map(lambda k: k / 2)
ordinary = st.floats(-8.0, 8.0, width=16).filter(lambda x: x == 0 or abs(x) > 2**-6)
incoming = st.integers(-64, 64).map(lambda k: k / 16)


@st.composite
def rationals(draw: st.DrawFn) -> Rational:
    """Draw a layer up to degree 4, and inputs that are ⊥, at poles, and elsewhere."""
    dtype, kind, shape = draw(wide_dtypes), draw(dtypes), draw(shapes)
    number = draw(st.sampled_from([exact, ordinary]))
    rows = (draw(st.lists(number, min_size=1, max_size=5)) for _ in "PQ")
    numerator, denominator = (Array.of(row, dtype) for row in rows)
    size = math.prod(shape)
    inputs = draw(st.lists(number | numbers(kind), min_size=size, max_size=size))
    gradients = draw(st.lists(incoming, min_size=size, max_size=size))
    x = Array(tuple(inputs), shape, kind, draw(layouts))
    g = Array(tuple(gradients), shape, kind)
    tau = draw(st.sampled_from([0.0, 0.5, 1.0, 2.0]) | taus())
    return Rational(numerator, denominator, tau, x, g, draw(st.none() | names))


def layer(numerator: list[float], denominator: list[float], tau: float, policy: str | None = None,
          dtype: str = "float32") -> Rational:  # fmt: skip
    """Return a layer at telling inputs, with gradients that CLAMP changes and that it does not."""
    x = [0.0, 0.5, -1.5, 2.0, math.nan, math.inf, -math.inf, 1.0, -1.0, 0.25]
    g = [0.5, 3.0, -0.25, -2.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.0]
    P, Q = (Array.of(row, "float32") for row in (numerator, denominator))
    return Rational(P, Q, tau, Array.of(x, dtype), Array.of(g, dtype), policy)


CURVES: list[tuple[list[float], list[float]]] = [
    ([1.0, -2.0, 0.0, 1.0], [0.5, 1.0, -1.0]), ([3.0], [0.0, 1.0]), ([0.0, 1.0], [1.0]),
    ([0.0], [2.0]), ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 0.0, 0.0, 0.0, -1.0]), ([1.0], [0.0]),
]  # fmt: skip


@given(rationals())
@example(layer(*CURVES[0], 0.0))
@example(layer(*CURVES[0], 1.0, "project"))
@example(layer(*CURVES[2], 1.0, None, "float64"))
@example(layer([3e38, 3e38], [0.5, 1.0], 0.0, "passthrough"))
def test_DEC_9_rational(subject: Rationals, case: Rational) -> None:
    assert_clause("DEC-9", subject, case)


@pytest.mark.parametrize("policy", [None, *sorted(POLICIES)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("tau", [0.0, 0.5])
def test_DEC_9_curves(subject: Rationals, policy: str | None, dtype: str, tau: float) -> None:
    for curve in CURVES:
        assert_clause("DEC-9", subject, layer(*curve, tau, policy, dtype))


degrees = st.integers(-2, 5)


@given(st.tuples(degrees, degrees), st.sampled_from([0.0, 0.5, -0.5, math.nan, math.inf]))
@example((0, 0), 0.0)
@example((-1, 2), 0.0)
@example((2, -1), 0.0)
@example((2, 1), -1e-9)
@settings(max_examples=50)
def test_DEC_10_new(subject: Rationals, degrees: tuple[int, int], tau: float) -> None:
    assert_clause("DEC-10", subject, degrees, tau)


@pytest.mark.parametrize("tau", [0.0, 0.5])
def test_DEC_9_pieces(tau: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ``zeroproof``, which evaluates large tensors in pieces: the last one is short."""
    monkeypatch.setattr("zeroproof.layers.rational._PIECE", 4)
    for curve in CURVES:
        assert_clause("DEC-9", ZeroProof(), layer(*curve, tau, "project"))


def test_DEC_9_twice() -> None:
    """Second derivatives of ``zeroproof`` are those of the polynomials."""
    HELD.add("DEC-9")
    head = ProjectiveRationalHead(3, 0).double()
    x = torch.tensor([0.5, -1.5, 2.0], dtype=torch.float64, requires_grad=True)
    rows = [torch.ones_like(row, requires_grad=True) for row in head.parameters()]

    def evaluate(x: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
        found = functional_call(head, dict(zip(("numerator", "denominator"), rows, strict=True)), x)
        return tuple(found)

    assert gradgradcheck(evaluate, (x, *rows))


def tuple_of(kind: str, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return what a head makes of its linear parts, as its docstring says."""
    if kind == "free":
        return parts[0], parts[1]
    value, opening, orientation = parts
    if kind == "gated":
        q = 1 / (1 + torch.exp(-opening))
        return value * q + torch.tanh(orientation) * (1 - q), q
    size = torch.sqrt(1 + opening**2)
    return (value * opening + torch.tanh(orientation)) / size, opening / size


def gated(x: Tensor, rule: str, bottom: Tensor) -> Tensor:
    """Return ``x`` with its gradient under a policy of the specification."""

    def hook(g: Tensor) -> Tensor:
        pairs = zip(g.flatten().tolist(), bottom.flatten().tolist(), strict=True)
        return torch.tensor([POLICIES[rule](*pair) for pair in pairs], dtype=g.dtype).view_as(g)

    x.register_hook(hook)
    return x


def gradients(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients, some of which CLAMP changes."""
    incoming = [torch.linspace(-3, 2, x.numel(), dtype=x.dtype).view_as(x) for x in outputs]
    return list(torch.autograd.grad(outputs, leaves, incoming))


def assert_close(found: Sequence[Tensor], wanted: Sequence[Tensor], dtype: torch.dtype) -> None:
    slack = 64 * torch.finfo(dtype).eps
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=slack, atol=slack, equal_nan=True)


@pytest.mark.parametrize("kind", sorted(HEADS))
@given(st.none() | names, st.integers(1, 3), shapes.filter(len), st.booleans(), st.integers(0, 99))
@example(None, 2, (5,), False, 0)
@example("clamp", 1, (5,), False, 0)
@example("project", 2, (3, 2), True, 1)
@settings(max_examples=25)
def test_POL_8_heads(
    kind: str, policy: str | None, count: int, shape: tuple[int, ...], half: bool, seed: int
) -> None:
    """Heads combine linear parts, in float32 or wider, under the policy of the scope, if any."""
    HELD.add("POL-8")
    torch.manual_seed(seed)
    head = HEADS[kind](shape[-1], count).to(torch.bfloat16 if half else torch.float64)
    x = torch.randn(shape, dtype=head.linear.weight.dtype) * 3
    x.view(-1)[:1] = torch.nan
    x.requires_grad_()
    with gradient_policy(policy) if policy else nullcontext():
        found = head(x)
    linear = head.linear(x)
    parts = (linear.float() if half else linear).split(count, dim=-1)
    wanted = tuple_of(kind, parts)
    assert {t.shape for t in found} == {(*shape[:-1], count)}
    assert {t.dtype for t in found} == {t.dtype for t in wanted}
    bottom = ~(wanted[0].isfinite() & wanted[1].isfinite())
    ruled = [gated(1 * t, policy or "passthrough", bottom) for t in wanted]
    assert_close(found, ruled, found[0].dtype)
    assert_close(gradients(found, [x]), gradients(ruled, [x]), x.dtype)


@pytest.mark.parametrize("kind", sorted(HEADS))
@pytest.mark.parametrize("count", [None, 1, 3])
@pytest.mark.parametrize("hidden", [(), (5,), (4, 6)])
def test_POL_8_networks(kind: str, count: int | None, hidden: tuple[int, ...]) -> None:
    """A network is SiLU layers of these widths, then a head; one output has no dimension."""
    HELD.add("POL-8")
    network = ProjectiveMLP(3, count, hidden=hidden, head=kind)
    x = torch.randn(7, 3)
    state, h = dict(network.state_dict()), x
    for i, width in enumerate(hidden):
        weight, bias = (state.pop(f"body.{2 * i}.{name}") for name in ("weight", "bias"))
        assert len(bias) == width
        h = h @ weight.T + bias
        h = h / (1 + torch.exp(-h))
    parts = (h @ state.pop("head.linear.weight").T + state.pop("head.linear.bias")).split(
        count or 1, dim=-1
    )
    assert not state
    wanted = [t if count else t[:, 0] for t in tuple_of(kind, parts)]
    assert [t.shape for t in network(x)] == [t.shape for t in wanted]
    assert_close(network(x), wanted, x.dtype)


def test_POL_8_network_defaults() -> None:
    HELD.add("POL-8")
    state = ProjectiveMLP(2).state_dict()
    sizes = [tuple(row.shape) for name, row in state.items() if name.endswith("weight")]
    assert sizes == [(64, 2), (64, 64), (2, 64)]
    with pytest.raises(ValueError, match=r"free, gated, pole.*'poles'"):
        ProjectiveMLP(2, head="poles")


@pytest.mark.parametrize("policy", [None, *sorted(POLICIES)])
@pytest.mark.parametrize("subclass", [False, True])
def test_POL_8_rational_heads(policy: str | None, subclass: bool) -> None:
    """By default gradients pass, also at (0, 0); a subclass may have a default of its own."""
    HELD.add("POL-8")
    kind: Any = type("Kind", (ProjectiveRationalHead,), {}) if subclass else ProjectiveRationalHead
    head = kind(1, 1)
    with torch.no_grad():
        head.denominator.copy_(torch.tensor([0.0, 2.0]))
    if subclass:
        register_policy(kind, policy)
    x = torch.tensor([0.0, 1.5, -0.5, torch.inf, 1.0], requires_grad=True)
    with gradient_policy(policy) if policy and not subclass else nullcontext():
        P, Q = head(x)
    assert_close([P[1:3], Q[1:3]], [x[1:3], 2 * x[1:3]], x.dtype)
    bottom = torch.tensor([True, False, False, True, False])
    wanted = [gated(t * 1, policy or "passthrough", bottom) for t in (x, 2 * x)]
    assert_close(gradients([P, Q], [x]), gradients(wanted, [x]), x.dtype)
