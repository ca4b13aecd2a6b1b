"""What ``compile=True`` compiles: the eager updates, in few graphs, and resumed bitwise."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from tests.helpers import make_trainer, pole_batches, small_model
from zeroproof.layers import SCMRationalLayer

# In processes of their own: the tests' checks of shapes and dtypes are no code to compile.
COMMON = """
import torch
from torch import nn, optim
from torch._dynamo.utils import counters
from tests.helpers import Pair, Scaled, Steep, make_trainer

torch.set_num_threads(1)
BATCHES = []
for seed in range(6):
    x = torch.rand(8, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
    BATCHES.append((x, torch.where(x[:, 0].abs() < 0.1, torch.inf, 1 / x[:, 0])))


def pair():
    return Pair(nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 2)))


def trainer(compile, optimizer=optim.Adam, batches=BATCHES, made=pair, **options):
    torch.manual_seed(0)
    model = made().double()
    return make_trainer(
        model, batches, optimizer=optimizer(model.parameters()), compile=compile, **options
    )


def state(run):
    slots = run.update.optimizer.state_dict()["state"].values()
    kept = [torch.as_tensor(v) for slot in slots for v in slot.values()]
    return [x.detach().clone() for x in (*run.model.parameters(), *kept)]


def close(ours, theirs):
    return all(torch.allclose(a, b, rtol=0, atol=1e-5) for a, b in zip(ours, theirs, strict=True))


def same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def graphs():
    return counters["stats"]["unique_graphs"]


def other_parts(compile):
    run = trainer(compile, made=lambda: Scaled(nn.Linear(1, 2)))
    for form in (lambda x: (x, 2.0), lambda x: (x, 3.0), lambda x: (x, 3 * x), lambda x: {"x": x}):
        for x, y in BATCHES:
            run.train_step((form(x), y))
    return state(run)


def steepened(compile):
    run = trainer(compile, made=Steep)
    for slope in (None, 3.0, 0.5):  # at first that of the class
        if slope is not None:
            run.model.slope = slope
        for batch in BATCHES:
            run.train_step(batch)
    return state(run)


def traced(function, options=None, **given):
    options = options and {"guard_filter_fn": options["guard_filter_fn"]}
    return compile(function, backend="eager", options=options, **given)


compile = torch.compile
"""

# Only traced, which takes a quarter of the time; the other script compiles.
TRACED = """
import copy
from functools import partial
from zeroproof import Interval, LossConfig, ProjectiveMLP, SCMTrainingLoss

torch.compile = traced
ends = [(x, y.clamp(-9, 4), y.clamp(min=-9).masked_fill(y > 4, torch.inf)) for x, y in BATCHES]
censored = [(x, Interval(lower, upper)) for x, lower, upper in ends]
several = [(x, torch.stack([y, -y], 1)) for x, y in BATCHES]
shared = partial(ProjectiveMLP, 1, 2, hidden=(8,), shared_denominator=True)
likelihood, squares = (SCMTrainingLoss(LossConfig(fit=f)) for f in ("likelihood", "squares"))
accumulated = {"gradient_accumulation_steps": 4, "max_epochs": 3, "max_grad_norm": 0.1}
for optimizer, options, count in (
    (optim.Adam, {}, 1),
    (optim.AdamW, {}, 1),
    (partial(optim.SGD, lr=0.1, momentum=0.9), {}, 1),
    (optim.RMSprop, {}, 1),
    (optim.NAdam, {}, 1),
    (optim.RAdam, {}, 1),
    (optim.Adagrad, {}, 1),
    (optim.Adam, {"batches": censored, "loss_fn": likelihood}, 1),
    (optim.Adam, {"batches": several, "loss_fn": likelihood, "made": shared}, 1),
    (optim.Adam, {"loss_fn": squares, "gradient_policy": "clamp"}, 1),
    (optim.SGD, accumulated, 3),  # a window's first, last and other micro-batches
):
    before = graphs()
    eager, compiled = (trainer(on, optimizer, **options) for on in (False, True))
    eager.fit()
    compiled.fit()
    assert eager.global_step == compiled.global_step == 6
    assert graphs() - before == count, (optimizer, graphs() - before)
    assert close(state(compiled), state(eager)), optimizer


def drops():
    return Pair(nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.3), nn.Linear(8, 2)))


saved = []
whole, resumed = (trainer(True, made=drops, log_hook=h) for h in (lambda r: keep(), None))
keep = lambda: saved.append(copy.deepcopy(whole.state_dict()))
whole.fit()
resumed.load_state_dict(saved[3])
resumed.fit()
assert same(state(resumed), state(whole)), "resumed, other units are dropped"
assert close(steepened(True), steepened(False)), "a number of the model is compiled in"
assert close(other_parts(True), other_parts(False)), "what a batch is made of is compiled in"
"""

COMPILED = """
import copy
from zeroproof.training import compiled


def run(compile, hook=None):
    return trainer(
        compile, max_epochs=4, tau_train_min=1e-3, tau_train_max=0.5, log_hook=hook,
        loss_curriculum=lambda epoch: {"sign": 0.25 * epoch, "margin": 1.0 - 0.25 * epoch},
        gradient_policy="clamp", max_nonfinite_steps=99,
    )


def save(record):
    if record["micro_step"] == 11:
        saved.update(copy.deepcopy(whole.state_dict()))


saved = {}
eager, whole = run(False), run(True, save)
theirs, ours = eager.fit(), whole.fit()
assert graphs() == 1, "thresholds, weights or epochs are compiled in"
assert counters["aot_autograd"]["total"] == 1, "traced twice"
for mine, other in zip(ours, theirs, strict=True):
    for name, value in other.items():
        pair = (torch.tensor([x], dtype=torch.float64) for x in (mine[name], value))
        torch.testing.assert_close(*pair, rtol=1e-5, atol=1e-6, equal_nan=True)
assert close(state(whole), state(eager))

resumed = run(True)
resumed.load_state_dict(saved)
assert resumed.global_step == 12
assert repr(resumed.fit()) == repr(ours[12:])
assert same(state(resumed), state(whole)), "resumed, but not bitwise"
assert graphs() == 2

x, y = BATCHES[0]
for made in (eager, resumed):
    for batch in BATCHES[:3]:
        made.update.optimizer.param_groups[0]["lr"] *= 0.5
        made.train_step(batch)
assert close(state(resumed), state(eager))
kept = state(resumed)
for made in (eager, resumed):
    assert made.train_step((x * torch.nan, y))["skipped"] == 1.0
    assert made.train_step((torch.full_like(x, torch.inf), y))["skipped"] == 2.0
assert same(state(resumed), kept), "a skipped update leaves its mark"
assert graphs() == 2, "a learning rate is compiled in"
for made in (eager, resumed):
    made.train_step((x[:5], y[:5]))
assert graphs() == 3, "a short batch has a graph of its own"
assert close(state(resumed), state(eager))
resumed.train_step(*[(x[:5], y[:5])] * 3)
assert graphs() == 6, "a place in a window has a graph of its own"
with torch._dynamo.config.patch(recompile_limit=2):
    try:
        resumed.train_step((x[:3], y[:3]))
    except ValueError as error:
        assert "compile=True met too many kinds of batches" in str(error), error
        assert "compile=False" in str(error), error
    else:
        raise AssertionError("any number of shapes is compiled")
assert graphs() == 6
"""


# What a CUDA graph does, without a GPU: it reads and writes where its capture did.
REPLAYED = """
import copy
from functools import partial
from zeroproof.training import captured, compiled

torch.compile = traced
compiled.REPLAYED = ("cpu",)


class Emulated:
    def __init__(self, owner, batch, *rest):
        self.read, self.graph, self.row = [], self, None
        inputs, targets = captured.map_tensors(batch[:2], torch.clone)
        captured.map_tensors((inputs, targets), self.read.append)
        batch = batch._replace(inputs=inputs, targets=targets)
        self.run = partial(owner._function, batch, *rest)
        self.states = owner._fixed.__self__._states
        self.places = [x.data_ptr() for x in self.states()]

    def replay(self):
        assert self.places == [x.data_ptr() for x in self.states()]
        row, names = self.run()
        self.row = (row if self.row is None else self.row[0].copy_(row), names)


captured.Captured._capture = lambda *arguments: Emulated(*arguments)
accumulated = {"gradient_accumulation_steps": 4, "max_epochs": 4, "max_grad_norm": 0.1}
runs = [trainer(on, **accumulated) for on in (True, False)]
for run in runs:
    rate = optim.lr_scheduler.ExponentialLR(run.update.optimizer, 0.5)
    run.scheduler.scheduler = rate
ours, theirs = (run.fit() for run in runs)
assert len([c for c in runs[0].update._compiled._captures.values() if c]) == 3
for mine, other in zip(ours, theirs, strict=True):
    for name in ("global_step", "lr", "loss", "coverage"):
        assert abs(mine[name] - other[name]) < 1e-5, (name, mine, other)

saved = {}


def save(record):
    if record["micro_step"] == 8 and not saved:
        saved.update(copy.deepcopy(whole.state_dict()))


whole, resumed = trainer(True, max_epochs=3, log_hook=save), trainer(True, max_epochs=3)
whole.fit()
resumed.load_state_dict(saved)
resumed.fit()
assert same(state(resumed), state(whole)), "resumed, but not bitwise"
kept, (x, y), eager = state(whole), BATCHES[0], trainer(False)
assert whole.train_step((x * torch.nan, y))["skipped"] == 1.0
assert same(state(whole), kept), "a skipped update leaves its mark"
eager.load_state_dict(whole.state_dict())
for made in (whole, eager):
    for size in (5, 5, 5, 8):
        assert made.train_step((x[:size], y[:size]))["skipped"] == 1.0
assert close(state(whole), state(eager))
whole.load_state_dict(saved)
whole.fit()
assert same(state(whole), state(resumed)), "the graph of an older state was replayed"
assert all(close(f(True), f(False)) for f in (steepened, other_parts)), "a number is captured"
"""


@pytest.mark.parametrize(
    "script", [TRACED, COMPILED, REPLAYED], ids=["traced", "compiled", "replayed"]
)
def test_a_compiled_run_is_the_eager_one(script: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", COMMON + script]
    done = subprocess.run(command, timeout=900, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.filterwarnings("ignore")  # of tracing itself
def test_a_compiled_run_saves_the_plain_model(
    unchecked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which names are saved does not depend on the backend.
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    trainer = make_trainer(small_model(), pole_batches([4, 4]), compile=True)
    trainer.fit()
    assert trainer.global_step == 2
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
