"""Gradient policies: what each lets through, and which one is in force."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import torch

from zeroproof.autodiff.policies import (
    GradientPolicy,
    apply_policy,
    get_policy,
    gradient_policy,
    register_policy,
)
from zeroproof.layers import ProjectiveRationalHead, SCMRationalLayer

NAN, INF = torch.nan, torch.inf


def gradient_under(policy: Any, incoming: list[float], bottom: list[bool]) -> list[float]:
    x = torch.zeros(len(incoming), requires_grad=True)
    apply_policy(x, torch.tensor(bottom), policy).backward(torch.tensor(incoming))
    assert x.grad is not None
    return x.grad.tolist()


def test_the_four_policies() -> None:
    incoming, bottom = [5.0, -0.5, INF, -INF, NAN], [False] * 4 + [True]
    assert gradient_under("clamp", incoming, bottom) == [1.0, -0.5, 1.0, -1.0, 0.0]
    assert gradient_under("project", incoming, bottom) == [5.0, -0.5, INF, -INF, 0.0]
    assert gradient_under("reject", incoming, bottom) == [0.0] * 5
    assert gradient_under("clamp", [NAN], [False]) == [0.0]
    passed = gradient_under(GradientPolicy.PASSTHROUGH, incoming, bottom)
    assert passed[:4] == incoming[:4]
    assert passed[4] != passed[4]


def test_policies_nest_yield_to_an_explicit_one_and_end_with_their_scope() -> None:
    assert get_policy() is GradientPolicy.CLAMP
    with gradient_policy("reject"):
        inner = gradient_policy(GradientPolicy.PROJECT)
        assert inner.__enter__() is get_policy() is GradientPolicy.PROJECT
        assert not inner.__exit__(None, None, None)
        with pytest.raises(KeyError), gradient_policy("project"):
            raise KeyError
        assert get_policy() is GradientPolicy.REJECT
        assert gradient_under("project", [5.0], [False]) == [5.0]
        assert gradient_under(None, [5.0], [False]) == [0.0]
    assert get_policy() is GradientPolicy.CLAMP


def test_layer_defaults_are_overridden_by_a_scope() -> None:
    register_policy("mine", "project")
    try:
        assert get_policy("mine") is GradientPolicy.PROJECT
        with gradient_policy("reject"):
            assert get_policy("mine") is GradientPolicy.REJECT
        assert get_policy("other") is GradientPolicy.CLAMP
    finally:
        register_policy("mine", None)
    assert get_policy("mine") is GradientPolicy.CLAMP
    with pytest.raises(ValueError, match="gradient policy 'clip' is unknown; use one of CLAMP"):
        register_policy("mine", "clip")


def test_the_policy_that_counts_is_the_one_in_force_at_the_forward() -> None:
    x = torch.ones(1, requires_grad=True)
    with gradient_policy("reject"):
        y = apply_policy(x, torch.tensor([False]))
    with gradient_policy("passthrough"):
        y.backward()
    assert x.grad is not None
    assert x.grad.item() == 0.0


def test_a_scope_is_local_to_its_thread_and_its_task() -> None:
    seen: list[GradientPolicy] = []
    with gradient_policy("reject"):
        thread = threading.Thread(target=lambda: seen.append(get_policy()))
        thread.start()
        thread.join()

    async def task(policy: str, entered: asyncio.Event, wait: asyncio.Event) -> None:
        with gradient_policy(policy):
            entered.set()
            await wait.wait()
            seen.append(get_policy())

    async def both() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        await asyncio.gather(task("project", first, second), task("reject", second, first))

    asyncio.run(both())
    assert seen[0] is GradientPolicy.CLAMP
    assert set(seen[1:]) == {GradientPolicy.PROJECT, GradientPolicy.REJECT}


def test_apply_policy_refuses_another_shape(unchecked: None) -> None:
    with pytest.raises(ValueError, match="they must be equal"):
        apply_policy(torch.ones(2), torch.zeros(3, dtype=torch.bool))


@pytest.mark.parametrize("layer", [SCMRationalLayer, ProjectiveRationalHead])
def test_layers_honour_the_policy_of_the_scope(layer: Any) -> None:
    module = layer(2, 1)
    for policy, moves in (("reject", False), ("project", True)):
        module.zero_grad()
        with gradient_policy(policy):
            first = module(torch.rand(5))[0]
        first.sum().backward()
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        assert any(bool(g.any()) for g in gradients) == moves
