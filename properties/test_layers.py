"""The layers of ``zeroproof``: what they compute, and the policy that their gradients follow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from contextlib import nullcontext
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradgradcheck
from torch.func import functional_call, grad, jacrev, vmap

from properties.assertions import HELD
from properties.strategies import dtypes, shapes
from properties.tensors import assert_close, gated, gradients, gradients_under, to_tensor
from spec import Array
from spec.formats import round_to
from spec.policies import POLICIES
from zeroproof.autodiff import gradient_policy, register_policy
from zeroproof.layers import ProjectiveMLP, ProjectiveRationalHead, SCMRationalLayer
from zeroproof.layers.projective import HEADS

names = st.sampled_from(sorted(POLICIES))
scoped = st.none() | names
filled = shapes.filter(lambda s: s and s[-1])
# Their polynomials are exact in float32, so that thresholds are met exactly.
small = st.integers(-6, 6).map(lambda k: k / 2)
rows = st.lists(small, min_size=1, max_size=4)
inputs = st.lists(small | st.sampled_from([math.nan, math.inf, -math.inf]), max_size=9)
X = [0.0, 0.5, -1.5, 2.0, math.nan, math.inf, -math.inf, 1.0, -1.0]


def terms(row: Sequence[float], x: float, factor: Fraction = Fraction(1)) -> list[Fraction]:
    """Return the terms of a polynomial, times a factor."""
    return [Fraction(a) * Fraction(x) ** i * factor for i, a in enumerate(row)]


def assert_near(found: float, wanted: Sequence[Fraction], dtype: torch.dtype) -> None:
    """Compare with a sum, as exactly as its terms can be added."""
    slack = 64 * torch.finfo(dtype).eps * (1 + float(sum(map(abs, wanted))))
    assert abs(found - float(sum(wanted))) <= slack, f"{found}, not {float(sum(wanted))}"


@given(rows, rows, inputs, st.sampled_from([0.0, 0.5, 1.0, 2.0]), scoped, dtypes, st.booleans())
@example([1.0, -2.0, 0.0, 1.0], [0.5, 1.0, -1.0], X, 0.5, None, "float32", False)
@example([3.0], [0.0, 1.0], X, 0.5, "passthrough", "bfloat16", False)
@example([0.0, 1.0], [1.0], X, 0.0, "clamp", "float16", True)
@example([2.0], [2.0], [1.0, math.inf, math.nan] * 2, 2.0, "project", "float64", False)
@example([1.0], [0.0], X, 0.0, "reject", "float64", False)
def test_DEC_1_POL_8_rational_layers(
    P: list[float], Q: list[float], x: list[float], tau: float, policy: str | None, dtype: str,
    wide: bool,
) -> None:  # fmt: skip
    """A layer decodes ``P(x) / Q(x)``; gradients of its values follow the policy, else CLAMP."""
    HELD.update(["DEC-1", "POL-8"])
    layer = SCMRationalLayer(len(P) - 1, len(Q) - 1, tau=tau).to(torch.float64 if wide else None)
    leaves: list[Tensor] = [layer.head.numerator, layer.head.denominator]
    with torch.no_grad():
        for leaf, row in zip(leaves, (P, Q), strict=True):
            leaf.copy_(torch.tensor(row))
    leaves.append(to_tensor(Array.of(x, dtype)).requires_grad_())
    with gradient_policy(policy) if policy else nullcontext():
        value, bottom = layer(leaves[2])
        incoming = torch.arange(-8.0, 8.0)[: len(x)].to(value.dtype) / 4
        in_P, in_Q, in_x = torch.autograd.grad(value, leaves, incoming)
    assert value.dtype == torch.promote_types(leaves[2].dtype, leaves[0].dtype)
    sums: list[list[Fraction]] = [[] for _ in (*P, *Q)]
    for i, at in enumerate(x):
        q = sum(terms(Q, at), Fraction(0)) if math.isfinite(at) else Fraction(0)
        assert bottom[i] == (abs(q) < Fraction(tau) or q == 0), f"⊥ at {at}"
        if bottom[i]:
            assert value[i] == in_x[i] == 0
            continue
        p = sum(terms(P, at), Fraction(0))
        quotient = round_to(str(value.dtype).removeprefix("torch."), p / q)
        assert value[i] == quotient, f"{value[i]} at {at}, not {p / q}"
        g = Fraction(POLICIES[policy or "clamp"](incoming[i].item(), False)) / q
        slopes = [[k * a for k, a in enumerate(row)][1:] for row in (P, Q)]
        assert_near(
            in_x[i].item(), terms(slopes[0], at, g) + terms(slopes[1], at, -g * p / q), in_x.dtype
        )
        added = terms([1.0] * len(P), at, g) + terms([1.0] * len(Q), at, -g * p / q)
        for total, term in zip(sums, added, strict=True):
            total.append(term)
    for found, wanted in zip([*in_P.tolist(), *in_Q.tolist()], sums, strict=True):
        assert_near(found, wanted, in_P.dtype)


def test_DEC_1_new_rational_layers() -> None:
    """A new layer is ``x / 1``, or ``0 / 1``; its degrees and τ are not negative."""
    HELD.add("DEC-1")
    for degrees in itertools.product(range(4), repeat=2):
        head = SCMRationalLayer(*degrees).head
        assert head.numerator.tolist() == [0.0, 1.0, 0.0, 0.0][: degrees[0] + 1]
        assert head.denominator.tolist() == [1.0, 0.0, 0.0, 0.0][: degrees[1] + 1]
    layer, x = SCMRationalLayer(2, 0), torch.ones(1, requires_grad=True)
    value, bottom = layer(x)
    assert (value.item(), bottom.item()) == (1.0, False), "τ is 0"
    with torch.no_grad():
        layer.head.numerator.copy_(torch.tensor([0.0, 3e38, 3e38]))
    value, bottom = layer(x)
    value.sum().backward()
    assert (bottom.item(), x.grad) == (True, torch.zeros(1)), "the slope overflows, too"
    value, bottom = layer(x - 1.5)
    value.backward(torch.zeros(1))
    assert (bottom.item(), x.grad) == (False, torch.zeros(1)), "no gradient arrives"
    for *wrong, tau in ((-1, 2, 0.0), (2, -1, 0.0), (1, 1, -0.5), (1, 1, math.nan)):
        with pytest.raises(ValueError, match=r"_degree must be ≥ 0, got -1|tau must be"):
            SCMRationalLayer(*wrong, tau=tau)


@pytest.mark.parametrize("arriving", [0.0, 1.0])
def test_DEC_1_quotients_with_too_steep_a_slope(arriving: float) -> None:
    """Where no gradient arrives there is none, also beside a ``Q`` whose slope overflows."""
    HELD.add("DEC-1")
    layer = SCMRationalLayer(0, 1, gradient_policy="passthrough")
    with torch.no_grad():
        layer.head.numerator.fill_(1.0)
        layer.head.denominator.copy_(torch.tensor([0.0, 2.0**-90]))
    value, bottom = layer(torch.tensor([1.0, 2.0**90, 0.0]))
    value.backward(torch.tensor([0.0, arriving, arriving]))
    assert (value.tolist(), bottom.tolist()) == ([2.0**90, 1.0, 0.0], [False, False, True])
    assert layer.head.numerator.grad == arriving
    assert layer.head.denominator.grad is not None
    assert layer.head.denominator.grad.tolist() == [-arriving, -(2.0**90) * arriving]


def test_DEC_1_twice() -> None:
    """Second derivatives of ``zeroproof`` are those of the polynomials."""
    HELD.add("DEC-1")
    head = ProjectiveRationalHead(3, 0).double()
    x = torch.tensor([0.5, -1.5, 2.0], dtype=torch.float64, requires_grad=True)
    rows = [torch.ones_like(row, requires_grad=True) for row in head.parameters()]

    def evaluate(x: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
        found = functional_call(head, dict(zip(("numerator", "denominator"), rows, strict=True)), x)
        return tuple(found)

    assert gradgradcheck(evaluate, (x, *rows))


def random_layer() -> tuple[SCMRationalLayer, dict[str, Tensor], Tensor]:
    """Return a layer with random coefficients, these, and inputs with ⊥ among the values."""
    layer = SCMRationalLayer(3, 2, tau=0.25).double()
    generator = torch.Generator().manual_seed(0)
    for row in layer.parameters():
        torch.nn.init.normal_(row, generator=generator)
    return layer, dict(layer.named_parameters()), torch.tensor(X, dtype=torch.float64)


def test_DEC_1_POL_8_functional_gradients() -> None:
    """``torch.func`` gives the gradients of ``backward``: ``grad``, ``vmap`` and ``jacrev``."""
    HELD.update(["DEC-1", "POL-8"])
    layer, state, x = random_layer()

    def total(state: dict[str, Tensor], x: Tensor) -> Tensor:
        found: Tensor = functional_call(layer, state, (x,))[0]
        return 3 * found.sum()

    leaves = [*state.values(), x.requires_grad_()]
    (*wanted, in_x) = torch.autograd.grad(total(state, x), leaves)
    x.requires_grad_(False)
    assert_close(list(grad(total)(state, x).values()), wanted)
    assert_close([vmap(grad(total, argnums=1), in_dims=(None, 0))(state, x)], [in_x])
    samples = vmap(grad(total), in_dims=(None, 0))(state, x)
    assert_close([row.sum(dim=0) for row in samples.values()], wanted)
    with gradient_policy("passthrough"):
        once = jacrev(total, argnums=1)
        slopes = jacrev(lambda x: layer(x)[0], chunk_size=1)(x)
        assert_close([torch.diag(3 * slopes.diagonal())], [torch.diag(once(state, x))])
        step, at = 1e-6, torch.tensor([0.5, 2.0], dtype=torch.float64)
        wanted = [(once(state, at + step) - once(state, at - step)) / (2 * step)]
        second = jacrev(once, argnums=1)(state, at).diagonal()
    torch.testing.assert_close(second, wanted[0], rtol=1e-6, atol=1e-6)


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


@pytest.mark.parametrize("kind", sorted(HEADS))
@given(scoped, st.integers(1, 3), filled, st.booleans(), st.integers(0, 99), st.booleans())
@example(None, 2, (5,), False, 0, False)
@example("clamp", 1, (5,), False, 0, False)
@example("project", 2, (3, 2), True, 1, True)
@settings(max_examples=25)
def test_POL_8_POL_13_heads(
    kind: str, policy: str | None, count: int, shape: tuple[int, ...], half: bool, seed: int,
    shared: bool,
) -> None:  # fmt: skip
    """Heads combine linear parts, in float32 or wider, under the policy of the scope, if any."""
    HELD.update(["POL-8", "POL-13"])
    torch.manual_seed(seed)
    shared = shared and len(shape) > 1  # one column of several rows
    head = HEADS[kind](shape[-1], count, shared_denominator=shared)
    head.to(torch.bfloat16 if half else torch.float64)
    x = torch.randn(shape, dtype=head.linear.weight.dtype) * 3
    x.view(-1)[:1] = torch.nan
    x.requires_grad_()
    with gradient_policy(policy) if policy else nullcontext():
        found = head(x)
    linear = head.linear(x)
    sizes = [count, 1 if shared else count, count][: 2 if kind == "free" else 3]
    wanted = tuple_of(kind, (linear.float() if half else linear).split(sizes, dim=-1))
    assert [t.shape[-1] for t in found] == sizes[:2]
    assert {t.dtype for t in found} == {t.dtype for t in wanted}
    bottom = ~(wanted[0].isfinite() & wanted[1].isfinite())
    bottom = bottom.any(-1, keepdim=True).expand_as(bottom) if shared else bottom
    rules = bottom, bottom[..., : sizes[1]]
    ruled = [gated(1 * t, policy or "passthrough", b) for t, b in zip(wanted, rules, strict=True)]
    assert_close(found, ruled)
    assert_close(gradients(found, [x]), gradients(ruled, [x]))


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
    assert_close(network(x), wanted)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("scope", [None, *sorted(POLICIES)])
def test_POL_8_layers_with_a_policy_of_their_own(policy: str, scope: str | None) -> None:
    """An explicit policy counts before a scope."""
    HELD.add("POL-8")
    layer, x = SCMRationalLayer(1, 0, gradient_policy=policy), torch.ones(3, requires_grad=True)
    assert SCMRationalLayer(1, 0, gradient_policy=layer.gradient_policy).gradient_policy
    with gradient_policy(scope) if scope else nullcontext():
        value, bottom = layer(x)
    incoming = torch.tensor([3.0, -0.5, -2.0])
    wanted = gradients_under(policy, incoming, bottom)
    assert torch.equal(torch.autograd.grad(value, x, incoming)[0], wanted)
    with pytest.raises(ValueError, match="'clip' is unknown"):
        SCMRationalLayer(1, 0, gradient_policy="clip")


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
    head = kind(1, 1).requires_grad_(not subclass)  # a frozen one passes gradients on, too
    with torch.no_grad():
        head.denominator.copy_(torch.tensor([0.0, 2.0]))
    if subclass:
        register_policy(kind, policy)
    x = torch.tensor([0.0, 1.5, -0.5, torch.inf, 1.0], requires_grad=True)
    with gradient_policy(policy) if policy and not subclass else nullcontext():
        P, Q = head(x)
    assert_close([P[1:3], Q[1:3]], [x[1:3], 2 * x[1:3]])
    bottom = torch.tensor([True, False, False, True, False])
    wanted = [gated(t * 1, policy or "passthrough", bottom) for t in (x, 2 * x)]
    assert_close(gradients([P, Q], [x]), gradients(wanted, [x]))
