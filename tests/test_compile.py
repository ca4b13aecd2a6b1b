"""What is compiled: one compilation for all thresholds, weights and epochs; eager gradients."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

import pytest
import torch

from tests.helpers import make_trainer, pole_batches, small_model
from zeroproof.layers import SCMRationalLayer

# In a process of its own: the tests' checks of shapes and dtypes are no code to compile.
SCRIPT = """
import torch
from torch._dynamo.utils import counters
from tests.helpers import Pair, make_trainer, pole_batches

def trainer(epochs, compile):
    torch.manual_seed(0)
    model = Pair(torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.SiLU(), torch.nn.Linear(8, 2)))
    return make_trainer(
        model, pole_batches([8] * 4), max_epochs=epochs, tau_train_min=1e-3, tau_train_max=0.5,
        loss_curriculum=lambda epoch: {"sign": 0.25 * epoch, "margin": 1.0 - 0.25 * epoch},
        compile=compile, optimizer=torch.optim.Adam(model.parameters()),
    )

eager, whole = trainer(4, False), trainer(4, True)
runs = [eager.fit(), whole.fit()]
assert counters["stats"]["unique_graphs"] == 2, counters  # evaluation, and optimizer step
for ours, theirs in zip(runs[1], runs[0], strict=True):
    for name, value in theirs.items():
        x = torch.tensor([ours[name], value])
        torch.testing.assert_close(x[0], x[1], rtol=1e-4, atol=1e-6, equal_nan=True)
margins = [record["loss_margin"] for record in runs[1]]
assert len(set(margins)) > len(margins) / 2, "thresholds show"

first, second = trainer(2, True), trainer(4, True)
first.fit()
second.load_state_dict(first.state_dict())
second.fit()
assert second.global_step == whole.global_step == 16
for mine, theirs in zip(second.model.parameters(), whole.model.parameters(), strict=True):
    assert torch.equal(mine, theirs), "resumed, but not bitwise"
"""


def test_steps_compile_nothing_again_and_a_compiled_run_resumes_bitwise() -> None:
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    subprocess.run(command, check=True, timeout=300)


@pytest.mark.filterwarnings("ignore")  # of tracing itself
def test_a_compiled_run_saves_the_plain_model(
    unchecked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which names are saved does not depend on the backend.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    trainer = make_trainer(small_model(), pole_batches([4]), compile=True, gradient_policy="clamp")
    trainer.fit()
    make_trainer(small_model(1), pole_batches([4])).load_state_dict(trainer.state_dict())


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_rational_layer_has_the_eager_gradients(unchecked: None) -> None:
    layer = SCMRationalLayer(3, 2, tau=0.3)
    x = torch.tensor([0.5, -1.0, 2.0, torch.inf, 0.1, torch.nan], requires_grad=True)

    def found(function: Any) -> list[Any]:
        value, bottom = function(x)
        return [value, bottom, *torch.autograd.grad((3 * value).sum(), [x, *layer.parameters()])]

    compiled = torch.compile(lambda x: layer(x), backend="aot_eager")
    for one, other in zip(found(layer), found(compiled), strict=True):
        torch.testing.assert_close(one, other)
    assert found(layer)[2].abs().sum() > 0
