"""Gradient policies: what each lets through, and which one is in force."""

from __future__ import annotations

import asyncio
import copy
import io
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from zeroproof.autodiff.policies import (
    GradientPolicy,
    apply_policy,
    get_policy,
    grad_scale,
    gradient_policy,
    register_policy,
)
from zeroproof.inference import SCMInferenceWrapper
from zeroproof.layers import (
    FreeHead,
    PoleHead,
    ProjectiveMLP,
    ProjectiveRationalHead,
    SCMRationalLayer,
)

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


class OwnHead(FreeHead):
    """A head of a user's."""


def moves(model: nn.Module) -> bool:
    """Tell whether a gradient reaches any parameter of a model."""
    (7 * model(torch.rand(5, 2))[0].sum()).backward()
    return any(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: FreeHead(2, 1), lambda model: FreeHead),
        (lambda: FreeHead(2, 1), lambda model: FreeHead.__base__),
        (lambda: FreeHead(2, 1), lambda model: model),
        (lambda: OwnHead(2, 1), lambda model: FreeHead),
        (lambda: OwnHead(2, 1), lambda model: OwnHead),
        (lambda: SCMRationalLayer(2, 1), lambda model: SCMRationalLayer),
        (lambda: ProjectiveMLP(2), lambda model: model),
        (lambda: ProjectiveMLP(2), lambda model: FreeHead),
        (lambda: SCMInferenceWrapper(ProjectiveMLP(2)), lambda model: model),
        (lambda: nn.Sequential(nn.Linear(2, 2), PoleHead(2, 1)), lambda model: model),
    ],
)
def test_a_default_that_is_registered_is_followed(make: Any, key: Any) -> None:
    """Also that of a module around the layer, which nothing asked for."""
    model = make()
    register_policy(key(model), "reject")
    try:
        assert not moves(model)
    finally:
        register_policy(key(model), None)
    assert moves(model)


def saved(model: nn.Module) -> Any:
    torch.save(model, file := io.BytesIO())
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, saved, AveragedModel])
def test_a_copy_of_a_module_keeps_its_default(copied: Any) -> None:
    model = ProjectiveMLP(2)
    register_policy(model, "reject")
    other = copied(model)
    assert not moves(other)
    register_policy(other, None)
    assert moves(other)


@pytest.mark.filterwarnings("ignore")  # of tracing itself
def test_a_compiled_module_follows_its_default(unchecked: None) -> None:
    model = nn.Sequential(FreeHead(2, 1))
    compiled: Any = torch.compile(model, backend="eager")
    for policy in (None, "reject", None):
        model.zero_grad()
        register_policy(model, policy)
        assert moves(compiled) == (policy is None)


def test_a_checkpointed_forward_keeps_the_default_of_its_module() -> None:
    layer, x = FreeHead(2, 1), torch.rand(5, 2, requires_grad=True)
    register_policy(layer, "reject")
    y = reentrant(lambda z: layer(z)[0], x)
    register_policy(layer, None)
    y.sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.parametrize(
    "key",
    ["FreeHead", "OwnHead", "SCMRationalLayer", ProjectiveMLP, SCMInferenceWrapper, nn.Linear,
     nn.Linear(2, 2), SCMInferenceWrapper(nn.Sequential(nn.Linear(2, 2)))],
)  # fmt: skip
def test_a_default_that_nothing_asks_for_is_refused(key: Any) -> None:
    message = "asks for no policy; give one of the classes .*'FreeHead', .*'SCMRationalLayer'"
    with pytest.raises(ValueError, match=message):
        register_policy(key, "reject")


@pytest.mark.parametrize("key", [FreeHead, FreeHead.__base__, ProjectiveRationalHead])
def test_a_default_that_is_removed_gives_way_to_the_packages_own(key: Any) -> None:
    for policy in ("reject", None, "reject", None):
        register_policy(key, policy)
        assert get_policy(key).value == (policy or "passthrough")


def nested(layers: nn.ModuleList, x: Tensor, run: Any) -> Tensor:
    def inner(z: Tensor) -> Tensor:
        with gradient_policy("clamp"):
            z = layers[1](z)[0]
        return run(lambda w: layers[2](w)[0], z)

    return run(lambda z: inner(layers[0](z)[0]), x)


def sequential(layers: nn.ModuleList, x: Tensor, run: Any) -> Tensor:
    values = [nn.Sequential(layer, First()) for layer in layers]
    with grad_scale(4.0):
        if run is plainly:
            return nn.Sequential(*values)(x)
        return checkpoint_sequential(values, 3, x, use_reentrant=run is reentrant)


def side_by_side(layers: nn.ModuleList, x: Tensor, run: Any) -> Tensor:
    first = run(lambda z: layers[0](z)[0], x)
    with gradient_policy("passthrough"):
        return first + run(lambda z: layers[1](z)[0], x)


def once(layers: nn.ModuleList, x: Tensor, run: Any) -> Tensor:
    return run(lambda z: layers[0](z)[0], x)


class First(nn.Module):
    """The first of a pair."""

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0]


def plainly(function: Any, x: Tensor) -> Any:
    return function(x)


def reentrant(function: Any, x: Tensor) -> Any:
    return checkpoint(function, x, use_reentrant=True)


def recomputed(function: Any, x: Tensor) -> Any:
    return checkpoint(function, x, use_reentrant=False)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # inside another one
@pytest.mark.parametrize("run", [reentrant, recomputed])
@pytest.mark.parametrize("forward", [once, nested, sequential, side_by_side])
@pytest.mark.parametrize("policy", ["clamp", "project", "reject"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_forward_that_is_run_again_keeps_its_policy(
    run: Any, forward: Any, policy: str, elsewhere: bool
) -> None:
    """Whatever is in force at the backward, in another thread, too, and in a second backward."""
    found = []
    for how in (plainly, run):
        torch.manual_seed(0)
        layers = nn.ModuleList(SCMRationalLayer(2, 2) for _ in range(3))
        x = (torch.rand(6) * 4).requires_grad_()
        with gradient_policy(policy):
            y = (9 * forward(layers, x, how)).sum()

        def backward(y: Tensor = y) -> None:
            with gradient_policy("passthrough"):
                y.backward(retain_graph=True)
                y.backward()

        if elsewhere:
            thread = threading.Thread(target=backward)
            thread.start()
            thread.join()
        else:
            backward()
        found.append([p.grad for p in (*layers.parameters(), x) if p.grad is not None])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
