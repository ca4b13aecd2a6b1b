"""Modes and gradients that the caller has switched off; compiled, and on several ranks."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.subjects.zeroproof.ranks import on_ranks
from tests.helpers import finite_batches, fit_loss, make_trainer, pole_batches, same, small_model
from tests.test_finite import NAN, Normed, faulty_batches
from zeroproof.training.trainer import NonFiniteError


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("what", ["epochs", "validation", "error"])
def test_a_frozen_batch_norm_stays_in_eval_mode(what: str) -> None:
    model, seen = Normed(), list[list[bool]]()
    model.norm.eval()
    expected = modes(model)
    model.norm.register_forward_pre_hook(lambda *_: seen.append(modes(model)))
    options = {"val_loader": pole_batches([4])} if what == "validation" else {}
    batches: list[Any] = pole_batches([8] * 2)
    trainer = make_trainer(model, batches, fit_loss, max_epochs=3, **options)
    if what == "error":
        batches.append("no batch")
        with pytest.raises(TypeError):
            trainer.fit()
        batches.pop()
    trainer.fit()
    in_training = [x for x in seen if x[0]]
    assert len(in_training) >= 6
    assert all(x == expected for x in in_training)
    assert modes(model) == expected
    assert model.norm.num_batches_tracked == 0


def test_a_model_in_eval_mode_is_trained_in_train_mode() -> None:
    model = Normed().eval()
    make_trainer(model, pole_batches([8]), fit_loss).fit()
    assert all(modes(model))
    assert model.norm.num_batches_tracked == 1


def test_a_part_with_a_train_of_its_own_decides_its_modes() -> None:
    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> Frozen:
            super().train(mode)
            self[0].eval()
            return self

    model = nn.Sequential(Frozen(nn.BatchNorm1d(2)), small_model())
    make_trainer(model, finite_batches(3)).fit()
    assert model.training
    assert torch.equal(model[0][0].running_mean, torch.zeros(2))


def test_a_parameter_that_is_frozen_in_mid_run_stays_as_it_is() -> None:
    model, seen = small_model(), list[list[Tensor]]()
    body = list(model.body.parameters())  # type: ignore[operator, union-attr]

    def hook(record: dict[str, float]) -> None:
        for parameter in body:
            parameter.requires_grad_(not 2 <= record["micro_step"] < 5)
        seen.append([p.detach().clone() for p in body])

    make_trainer(model, pole_batches([8] * 8), fit_loss, log_hook=hook).fit()
    moved = [not same(seen[i], seen[i + 1]) for i in range(7)]
    assert moved == [True, True, False, False, False, True, True]


# In a process of its own, as in ``test_compile.py``; traced, but not compiled. A tracing takes a
# second, so one run has both: micro-batches 3 to 5 with a part frozen, and one with a NaN.
TRACED = """
import warnings
from functools import partial
import torch
from torch._dynamo.utils import counters
from tests.helpers import make_trainer, pole_batches, same, weights
from tests.test_finite import NAN, Normed, fit_loss
from tests.test_sparse_gradients import Bag

warnings.simplefilter("ignore")
compile = torch.compile
torch.compile = lambda f, options=None, **given: compile(f, backend="eager", **given)
sgd, batches = partial(torch.optim.SGD, lr=0.1), pole_batches([8] * 9)
batches[7][0][3, 1] = NAN


def run(compile):
    model, seen = Normed(), []

    def hook(record):
        for p in model.inner.body.parameters():
            p.requires_grad_(not 2 <= record["micro_step"] < 5)
        seen.append(weights(model.inner.body))

    optimizer = sgd(model.parameters(), momentum=0.9)
    trainer = make_trainer(
        model, batches, fit_loss, optimizer=optimizer, compile=compile, log_hook=hook
    )
    trainer.fit()
    assert trainer.skipped_steps == 1
    assert model.mask.tolist() == [0.0, -torch.inf]
    stays = [same(*pair) for pair in zip(seen, seen[1:])]
    assert stays == [False] * 2 + [True] * 3 + [False, True, False], stays
    return model.state_dict().values()


for ours, eager in zip(run(True), run(False), strict=True):
    torch.testing.assert_close(ours, eager)
    assert ours.isfinite().all() or ours.numel() == 2
assert counters["stats"]["unique_graphs"] == 3, "none for what follows a NaN"
model = Bag("embedding", True)
sparse = make_trainer(model, batches, optimizer=sgd(model.parameters()), compile=True)
try:
    sparse.fit()
except ValueError as error:
    assert "compile=True cannot trace sparse gradients; give the embedding sparse" in str(error)
else:
    raise AssertionError("sparse gradients were compiled")
"""


def test_compiled_updates_obey_the_same_rules() -> None:
    command = [sys.executable, "-W", "ignore", "-c", TRACED]
    done = subprocess.run(command, timeout=300, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_ranks_keep_buffers_modes_and_say_alike_what_is_not_finite() -> None:
    def task(rank: int) -> Any:
        model = Normed()
        model.eval()
        batches = [(x[rank::2], y[rank::2]) for x, y in faulty_batches()]  # one rank has the NaN
        trainer = make_trainer(model, batches, fit_loss)
        trainer.fit()
        finite = [bool(torch.isfinite(b).all()) for b in (model.norm.running_var, model.seen)]
        with torch.no_grad():
            next(model.parameters()).fill_(NAN if rank else 1.0)
        with pytest.raises(NonFiniteError, match=r"'norm\.weight' of the model") as error:
            trainer.state_dict()
        return trainer.skipped_steps, finite, all(modes(model)), str(error.value)

    first, second = on_ranks(task, 2)
    assert first == second
    assert first[:3] == (1, [True, True], True)


@pytest.mark.parametrize("first", [True, False])
def test_what_is_freed_during_a_run_is_reduced_over_ranks(first: bool) -> None:
    batches = pole_batches([8] * 4)

    def task(rank: int, ranks: int = 2) -> list[Tensor]:
        model = small_model(rank)
        frozen = list(model.parameters())[: 1 if first else None]
        for parameter in frozen:
            parameter.requires_grad_(False)
        trainer = make_trainer(model, batches, fit_loss)
        for index, (x, y) in enumerate(batches):
            for parameter in frozen if index == 2 or not first else ():
                parameter.requires_grad_(True)
            trainer.train_step((x[rank::ranks], y[rank::ranks]))
        return [p.detach() for p in model.parameters()]

    one = task(0, 1)
    for rank in on_ranks(task, 2):
        for ours, expected in zip(rank, one, strict=True):
            torch.testing.assert_close(ours, expected)
