"""Gradients of carriers, layers and decodes: beside ⊥, compiled, and of ``torch.func``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, jacrev, vmap

from tests.helpers import make_trainer
from zeroproof import scm
from zeroproof.inference import strict_inference
from zeroproof.scm import SCMTensor

NAN = torch.nan


def test_a_bottom_element_has_zero_gradient_and_leaves_the_others_alone() -> None:
    x = torch.tensor([0.0, 2.0, 1e-30], requires_grad=True)
    y = torch.tensor([0.0, 4.0, 1e-38], requires_grad=True)
    result = scm.log(SCMTensor(x)) / SCMTensor(y)
    result.payload.sum().backward()
    assert result.bottom.tolist() == [True, False, True]
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.tolist() == [0.0, 0.125, 0.0]
    assert y.grad[0] == y.grad[2] == 0.0


# In a process of its own: the tests' checks of shapes and dtypes are no code to compile.
GRAPHS = """
import torch
from zeroproof import scm
from zeroproof.autodiff.policies import GradientPolicy, traced_setting
from zeroproof.inference import InferenceConfig, strict_inference
from zeroproof.layers import ProjectiveMLP, SCMRationalLayer

x = torch.tensor([0.5, -1.0, 2.0, torch.inf, 0.1, torch.nan], requires_grad=True)
configs = InferenceConfig(0.1, 0.5, gauge="unit"), InferenceConfig(lower=-0.2, upper=0.3)
rational, network = SCMRationalLayer(3, 2, tau=0.3), ProjectiveMLP(1, hidden=(3,), head="pole")

def carrier(x):
    found = 1.0 / scm.SCMTensor(x) - scm.log(x) ** 2.0
    return found.payload, found.bottom

for policy in (None, GradientPolicy.REJECT, GradientPolicy.PASSTHROUGH):
    with traced_setting(policy, 1.0):
        decodes = (lambda x, c=c: strict_inference(*network(x[:, None]), c) for c in configs)
        for f in (rational, carrier, *decodes):
            torch.compiler.reset()
            found = []
            for g in (f, torch.compile(f, fullgraph=True, backend="aot_eager")):
                value, *flags = g(x)
                leaves = [x, *rational.parameters(), *network.parameters()]
                total = 3 * value.nan_to_num().sum()
                slopes = torch.autograd.grad(total, leaves, materialize_grads=True)
                found.append([value, *flags, *slopes])
            for eager, compiled in zip(*found, strict=True):
                torch.testing.assert_close(compiled, eager, equal_nan=True)
"""


def test_layers_carriers_and_decodes_compile_into_one_graph_with_the_eager_gradients() -> None:
    command = [sys.executable, "-W", "ignore", "-c", GRAPHS]
    done = subprocess.run(command, timeout=300, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_carriers_and_decodes_have_functional_gradients() -> None:
    x, y = torch.tensor([[1.0, 2.0, 0.5, NAN], [4.0, 0.0, -2.0, 1.0]])

    def total(x: Tensor, y: Tensor) -> Tensor:
        quotient = SCMTensor(x) / SCMTensor(y)
        return quotient.payload.sum() + strict_inference(x, y).value.nan_to_num().sum()

    wanted = torch.tensor([0.5, 0.0, -1.0, 0.0])
    assert torch.equal(grad(total)(x, y), wanted)
    assert torch.equal(vmap(grad(total))(x, y), wanted)
    assert torch.equal(jacrev(total)(x, y), wanted)
    second = jacrev(jacrev(total, argnums=1), argnums=1)(x, y).diagonal()
    torch.testing.assert_close(second, torch.tensor([4.0 / 64, 0.0, 2.0 / -8, 0.0]))


# Functions of carriers, where they are to be differentiated, and the gradient there.
SLOPES: dict[str, tuple[Callable[..., SCMTensor], tuple[float, ...], tuple[float, ...]]] = {
    "√(z·z)": (lambda z: scm.sqrt(z * z), (0.0,), (0.0,)),
    "√(x·x + y·y)": (lambda x, y: scm.sqrt(x * x + y * y), (0.0, 0.0), (0.0, 0.0)),
    "z·√z": (lambda z: z * scm.sqrt(z), (0.0,), (0.0,)),
    "0·√z": (lambda z: 0.0 * scm.sqrt(z), (0.0,), (0.0,)),
    "|√z − √z|": (lambda z: abs(scm.sqrt(z) - scm.sqrt(z)), (0.0,), (0.0,)),
    "0·z^½": (lambda z: 0.0 * z**0.5, (0.0,), (0.0,)),
    "0·(−2)ʸ": (lambda y: 0.0 * (-2.0) ** y, (2.0,), (0.0,)),
    "0/z": (lambda z: 0.0 * (1.0 / z), (1e-30,), (0.0,)),
    "0·x/y": (lambda x, y: 0.0 * (x / y), (1.0, 1e-30), (0.0, 0.0)),
    "√z": (scm.sqrt, (0.0,), (torch.inf,)),
    "z²": (lambda z: z**2.0, (0.0,), (0.0,)),
    "xʸ": (lambda x, y: x**y, (0.0, 2.0), (0.0, 0.0)),
}


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_that_are_infinite(name: str) -> None:
    function, at, expected = SLOPES[name]
    operands = [torch.tensor([value], requires_grad=True) for value in at]
    result = function(*map(SCMTensor, operands))
    assert not result.bottom.any()
    result.payload.backward()
    assert tuple(x.grad.item() for x in operands if x.grad is not None) == expected


def test_a_gradient_that_is_nan_stays_nan() -> None:
    x = torch.tensor([0.0, 1.0], requires_grad=True)
    (SCMTensor(x) * 0.0).payload.backward(torch.tensor([NAN, NAN]))
    assert x.grad is not None
    assert x.grad.isnan().all()


def test_second_derivatives_at_0_are_those_of_torch() -> None:
    """Where a factor is 0 by chance, and not by a slope that is infinite."""
    for function in (lambda z: (z * z) ** 2.0, lambda z: z * z * 0.5, lambda z: (z * 1.0) ** 3.0):
        for value in (0.0, 1.0):
            z = torch.tensor(value, dtype=torch.float64)
            ours = grad(grad(lambda z, f=function: f(SCMTensor(z)).payload))(z)
            assert torch.equal(ours, grad(grad(function))(z))


def test_a_model_of_carriers_trains_at_0() -> None:
    class Distance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2))

        def forward(self, x: Tensor) -> SCMTensor:
            z = SCMTensor(x @ self.w)
            return scm.sqrt(z * z) + SCMTensor(x[:, 0] * self.w[0])

    def loss(outputs: SCMTensor, lifted: tuple[Tensor, Tensor]) -> Tensor:
        return (outputs.payload - 1.0).square().mean()

    trainer = make_trainer(Distance(), [(torch.rand(8, 2), torch.ones(8))] * 3, loss)
    trainer.fit()
    assert (trainer.global_step, trainer.skipped_steps) == (3, 0)
