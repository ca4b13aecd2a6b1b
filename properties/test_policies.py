"""POL: gradient policies."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from properties.compare import assert_same, backward, flags, floats, leaf, tensor_of
from properties.tensor_strategies import masks, several
from spec import policies
from zeroproof.autodiff import (
    GradientPolicy,
    apply_policy,
    get_policy,
    gradient_policy,
    register_policy,
)

names = st.sampled_from(sorted(policies.POLICIES))
selecting = st.sampled_from(["clamp", "project", "reject"])


@dataclass(frozen=True)
class Case:
    """Values, the gradient that comes in, and the flags of ⊥."""

    x: Tensor
    g: Tensor
    bottom: Tensor

    def through(self, policy: str, times: int = 1) -> Tensor:
        """Return the gradient that passes the policy."""
        x = leaf(self.x)
        y = x
        for _ in range(times):
            y = apply_policy(y, self.bottom, policy)
        backward(y, self.g)
        assert x.grad is not None, "a leaf behind a policy has a gradient"
        return x.grad

    def expected(self, policy: str) -> Tensor:
        """Return what the specification lets pass."""
        rule = policies.POLICIES[policy]
        pairs = zip(floats(self.g), flags(self.bottom), strict=True)
        return tensor_of([rule(g, b) for g, b in pairs], self.g)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw values and gradients, NaN and ±∞ among both, and flags."""
    x, g = draw(several(2))
    return Case(x, g, draw(masks(x.shape)))


@given(cases())
def test_POL_1_clamp(case: Case) -> None:
    """CLAMP: 0 where ⊥ or NaN, else clamped to [−1, 1]."""
    passed = case.through("clamp")
    assert_same(passed, case.expected("clamp"), f"CLAMP of {case}")
    assert bool((passed.abs() <= 1).all()), f"CLAMP of {case} left [-1, 1]: {passed!r}"


@given(cases())
def test_POL_2_project(case: Case) -> None:
    """PROJECT: 0 where ⊥, else g bitwise."""
    assert_same(case.through("project"), case.expected("project"), f"PROJECT of {case}")


@given(cases())
def test_POL_3_reject(case: Case) -> None:
    """REJECT: 0 everywhere, whatever comes in."""
    assert_same(case.through("reject"), case.expected("reject"), f"REJECT of {case}")


@given(cases())
def test_POL_4_passthrough(case: Case) -> None:
    """PASSTHROUGH: g everywhere, at ⊥ too."""
    assert_same(case.through("passthrough"), case.expected("passthrough"), f"PASS of {case}")


@given(cases(), selecting, st.sampled_from([torch.nan, torch.inf, -torch.inf]))
def test_POL_5_select(case: Case, policy: str, incoming: float) -> None:
    """At ⊥ the gradient is exactly 0, even where NaN or ±∞ comes in."""
    poisoned = Case(case.x, case.g.masked_fill(case.bottom, incoming), case.bottom)
    passed = poisoned.through(policy)[case.bottom]
    assert not bool(passed.any()), f"{policy} of {poisoned} let {passed!r} through at ⊥"


@given(cases(), names)
def test_POL_6_idempotent(case: Case, policy: str) -> None:
    """A policy twice is the policy once."""
    assert_same(case.through(policy, 2), case.through(policy), f"{policy} twice on {case}")


@given(cases(), cases(), names, st.data())
def test_POL_7_elementwise(case: Case, other: Case, policy: str, data: st.DataObject) -> None:
    """No element's gradient depends on another's: all the others are exchanged."""
    kept = data.draw(masks(case.x.shape), label="kept")
    noise = data.draw(st.permutations([*floats(other.g), *[torch.nan, 1e3, -0.0] * case.g.numel()]))
    filler = torch.tensor(noise[: case.g.numel()]).to(case.g.dtype).reshape(case.g.shape)
    mixed = Case(
        torch.where(kept, case.x, filler),
        torch.where(kept, case.g, filler),
        torch.where(kept, case.bottom, ~case.bottom),
    )
    ours, theirs = case.through(policy)[kept], mixed.through(policy)[kept]
    assert_same(theirs, ours, f"{policy} at the kept elements of {case}")


@given(cases(), names)
def test_POL_forward_is_identity(case: Case, policy: str) -> None:
    """A policy changes gradients only: the value is x itself, bit for bit."""
    gated = apply_policy(leaf(case.x), case.bottom, policy)
    assert_same(gated, case.x, f"{policy} of {case}")


@given(st.lists(names, max_size=4), st.none() | names, st.none() | names, st.none() | names)
def test_POL_8_order(
    scopes: list[str], default: str | None, explicit: str | None, later: str | None
) -> None:
    """Explicit before innermost scope before layer default before CLAMP, fixed at the forward."""
    g = torch.tensor([2.0, torch.nan, 0.5])
    bottom, x = torch.tensor([False, False, True]), torch.zeros(3, requires_grad=True)
    expected = policies.in_force(explicit, scopes, default)
    layer = object()
    register_policy(layer, default)
    try:
        with ExitStack() as stack:
            for name in scopes:
                stack.enter_context(gradient_policy(name))
            if explicit is None:
                assert get_policy(layer).value == expected, f"{scopes}, default {default}"
            y = apply_policy(x, bottom, explicit, layer=layer)
    finally:
        register_policy(layer, None)
    with gradient_policy(later or "clamp"):
        backward(y, g)
    assert x.grad is not None, "the gradient arrives"
    reference = Case(x.detach(), g, bottom).expected(expected)
    assert_same(x.grad, reference, f"explicit {explicit}, scopes {scopes}, default {default}")


@given(st.lists(names, min_size=1, max_size=4), st.integers(0, 3))
def test_POL_8_undone(scopes: list[str], fails_at: int) -> None:
    """Each scope nests and is undone, on an exception too."""

    def enter(depth: int) -> None:
        expected = policies.in_force(None, scopes[:depth], None)
        assert get_policy().value == expected, f"entering {scopes} at depth {depth}"
        if depth == len(scopes):
            if fails_at < depth:
                raise KeyError(scopes[fails_at])
            return
        try:
            with gradient_policy(scopes[depth]):
                enter(depth + 1)
        finally:
            assert get_policy().value == expected, f"leaving {scopes} at depth {depth}"

    if fails_at < len(scopes):
        with pytest.raises(KeyError):
            enter(0)
    else:
        enter(0)
    assert get_policy() is GradientPolicy.CLAMP, "nothing is left in force"


@given(names, names)
def test_POL_8_thread(ours: str, theirs: str) -> None:
    """A scope is local to its thread, both ways."""
    seen: list[str] = []
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        seen.append(get_policy().value)
        with gradient_policy(theirs):
            entered.set()
            leave.wait(10)

    with gradient_policy(ours):
        thread = threading.Thread(target=work)
        thread.start()
        assert entered.wait(10), "the thread enters its scope"
        here = get_policy().value
        leave.set()
        thread.join()
    assert seen == ["clamp"], f"the thread saw {seen} of the scope outside"
    assert here == ours, f"the thread's scope {theirs} reached out"


@given(st.lists(names, min_size=2, max_size=4))
def test_POL_8_async(chosen: list[str]) -> None:
    """A scope is local to its async task, however the tasks interleave."""

    async def task(name: str) -> list[str]:
        seen = []
        with gradient_policy(name):
            for _ in range(3):
                await asyncio.sleep(0)
                seen.append(get_policy().value)
        return seen

    async def together() -> list[list[str]]:
        return await asyncio.gather(*(task(name) for name in chosen))

    for name, seen in zip(chosen, asyncio.run(together()), strict=True):
        assert seen == [name] * 3, f"the task of {name} saw {seen}"


@given(st.text(max_size=8).filter(lambda name: name.lower() not in policies.POLICIES))
def test_POL_8_unknown(name: str) -> None:
    """A policy that does not exist is a ValueError wherever it is named."""
    x, bottom = torch.ones(1, requires_grad=True), torch.zeros(1, dtype=torch.bool)
    with pytest.raises(ValueError, match="unknown"):
        apply_policy(x, bottom, name)
    with pytest.raises(ValueError, match="unknown"):
        register_policy("layer", name)
    with pytest.raises(ValueError, match="unknown"), gradient_policy(name):
        pass
