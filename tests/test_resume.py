"""RES-1 with real models: stopped at any update, a run goes on as if it had not been."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers import (
    Noisy,
    ScaledLoss,
    make_trainer,
    pole_batches,
    random_parts,
    same,
    small_model,
    weights,
)
from tests.loaders import BATCH, DATA, EXACT, REFUSED
from zeroproof.training.batches import TensorBatches
from zeroproof.training.distributed import Ranks
from zeroproof.training.loader import LoaderState
from zeroproof.training.trainer import CheckpointError, SCMTrainer

CONFIGURATIONS, DEFAULT, COMPILED = 300, 12, 15  # all, those not marked, every how many


class Stateful:
    """A loader that knows where it is, in an order that no one else can replay."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches, self.order, self.place = batches, list(range(len(batches))), 0

    def __iter__(self) -> Iterator[Any]:
        while self.place < len(self.order):
            self.place += 1
            yield self.batches[self.order[self.place - 1]]
        self.place, self.order = 0, self.order[1:] + self.order[:1]

    def state_dict(self) -> dict[str, Any]:
        return {"order": self.order, "place": self.place}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order, self.place = list(state["order"]), state["place"]


def stateful() -> Any:
    try:
        from torchdata.stateful_dataloader import StatefulDataLoader
    except ImportError:
        return Stateful(pole_batches((5, 4, 5, 2, 5)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's, which it calls
        return StatefulDataLoader(DATA, BATCH, shuffle=True)


OWN: dict[str, Callable[[], Any]] = {  # which know their place
    "stateful": stateful,
    "Stateful": lambda: Stateful(pole_batches((5, 4, 5, 2, 5))),
    "TensorBatches": lambda: TensorBatches(*DATA.tensors, batch_size=BATCH, seed=3),
}


def chosen_loader(draw: random.Random) -> str:
    return draw.choice([*EXACT, *REFUSED, *3 * [*OWN]])


def is_compiled(configuration: int) -> bool:
    return configuration >= DEFAULT and configuration % COMPILED == 0


class Dropped(nn.Sequential):
    """Draws on torch's random state alone, which a graph can."""

    def __init__(self) -> None:
        super().__init__(nn.Dropout(0.3), small_model())


def configured(configuration: int, seed: int, **options: Any) -> SCMTrainer:
    """One of many trainers; the seed is all that differs between two of one configuration."""
    draw = random.Random(configuration)
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    kind = chosen_loader(draw)
    if compiled := is_compiled(configuration):
        torch._dynamo.reset()  # as in a new process
        kind = draw.choice(["shuffle", "persistent workers", "a sampler's counter"])
    model, loss = Dropped() if compiled else Noisy(), ScaledLoss()
    parameters = [*model.parameters(), *loss.parameters()]
    optimizer = draw.choice(
        [
            lambda: torch.optim.AdamW(parameters, lr=0.01),
            lambda: torch.optim.Adam(parameters, lr=0.01, amsgrad=True, fused=not compiled),
            lambda: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
            lambda: torch.optim.RMSprop(parameters, lr=0.01, centered=True),
        ]
    )()
    amp = draw.choice([{}, {"amp_dtype": "bf16"}, {"amp_dtype": "fp16"}])
    schedulers = torch.optim.lr_scheduler
    scheduler = draw.choice(
        [lambda: None, lambda: schedulers.CosineAnnealingLR(optimizer, 20),
         lambda: schedulers.OneCycleLR(
             optimizer, 0.1, total_steps=30, cycle_momentum=not compiled)]
    )()  # fmt: skip
    chosen = {
        # Of one buffer a window would hold the same batch several times, which is refused.
        "gradient_accumulation_steps": draw.choice([1, 2, 3] if kind != "one buffer" else [1]),
        "max_grad_norm": draw.choice([None, 0.1]),
        "val_loader": draw.choice([None, pole_batches((10,))]),
        "coverage_threshold": draw.choice([0.0, 0.999]),
        "coverage_patience": 3,
        "tau_train_max": draw.choice([1e-4, 0.5]),
        "gradient_policy": draw.choice([None, "clamp", "project"]),
        "use_amp": bool(amp),
        **amp,
    }
    if compiled:  # one graph of one shape
        chosen |= {"gradient_accumulation_steps": 1, "val_loader": None}
    made = (EXACT | REFUSED | OWN)[kind]()
    return make_trainer(
        model, made, loss, optimizer=optimizer, scheduler=scheduler, tau_train_min=0.0,
        compile=compiled, **chosen, **{"max_epochs": 3, **options},
    )  # fmt: skip


def everything(trainer: SCMTrainer) -> tuple[list[Any], str]:
    """All of a trainer's state that can be compared bitwise."""
    state = trainer.state_dict()
    slots = state["optimizer"]["state"].values()
    tensors = [*state["model"].values(), *state["loss"][0].values()]
    tensors += [torch.as_tensor(v) for slot in slots for v in slot.values()]
    tensors.append(random_parts(trainer)["torch"])
    rest = [state[k] for k in ("scheduler", "scale", "counters", "val_history", "last_thresholds")]
    return tensors, repr(
        [
            *rest,
            random_parts(trainer)["python"],
            random_parts(trainer)["numpy"],
            {
                path: x.tolist() if isinstance(x, torch.Tensor) else x
                for path, x in random_parts(trainer)["loader"].items()
            },
        ]
    )


@pytest.mark.parametrize(
    "configuration",
    [
        pytest.param(i, marks=[pytest.mark.endurance] if i >= DEFAULT else [])
        for i in range(CONFIGURATIONS)
    ],
)
def test_stopped_anywhere_it_goes_on_bitwise_or_is_refused(
    configuration: int, tmp_path: Path, unchecked: None
) -> None:
    if is_compiled(configuration):
        warnings.simplefilter("ignore")  # of tracing itself
    if is_compiled(configuration) and hasattr(SCMTrainer.fit, "__wrapped__"):
        pytest.skip("run-time type checks cannot be compiled; run pytest -o addopts=")
    draw, seen = random.Random(configuration), list[dict[str, float]]()
    kind = chosen_loader(draw)
    saves = {"checkpoint_dir": tmp_path, "checkpoint_every": 1, "keep_checkpoints": 1000}
    whole = configured(configuration, 1, log_hook=seen.append, **saves)
    whole.fit()
    path = draw.choice([*sorted(tmp_path.iterdir())[:-1], tmp_path / "between"])
    if path.name == "between":
        two = configured(configuration, 1, max_epochs=2)
        two.fit()
        two.save_checkpoint(path)
    rest: list[dict[str, float]] = []
    resumed = configured(configuration, 99, log_hook=rest.append)
    resumed.load_checkpoint(path)
    torch.rand(3), random.random(), np.random.random()
    left, before = whole.micro_step - resumed.micro_step, weights(resumed.model)
    refusal = ""
    try:
        resumed.fit()
    except CheckpointError as error:
        refusal = str(error)
    if refusal:
        assert kind in REFUSED
        assert "a loader with a state_dict" in refusal
        assert same(weights(resumed.model), before)
        assert rest == []
        return
    assert sum("val_loss" not in record for record in rest) == left
    assert repr(rest) == repr(seen[len(seen) - len(rest) :])
    (ours, more), (theirs, expected) = everything(resumed), everything(whole)
    assert same(ours, theirs)
    assert more == expected


def test_the_latest_checkpoints_are_kept_and_the_last_is_loaded(tmp_path: Path) -> None:
    saves = {"checkpoint_dir": tmp_path, "checkpoint_every": 2, "keep_checkpoints": 2}
    trainer = make_trainer(small_model(), pole_batches([4] * 7), max_epochs=2, **saves)
    trainer.fit()
    steps = ["step-0000000012", "step-0000000014"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"{s}-{trainer.run:012x}.pt" for s in steps
    ]
    other = make_trainer(small_model(), pole_batches([4] * 7), max_epochs=3)
    other.load_checkpoint(tmp_path)
    assert other.micro_step == 14
    assert len(other.fit()) == 7
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        other.load_checkpoint(tmp_path.parent)


def test_another_trainers_state_changes_nothing(unchecked: None) -> None:
    trainer = make_trainer(small_model(), pole_batches((4,)))
    state = trainer.state_dict()
    with pytest.raises(CheckpointError, match="does not fit this trainer"):
        trainer.load_state_dict(state | {"model": {}})
    assert repr(trainer.state_dict()) == repr(state)


def test_a_resumed_loader_state_is_saved_again_as_it_was() -> None:
    first, other = (LoaderState(pole_batches((4, 4)), Ranks(None)) for _ in range(2))
    batches = first.iterate()
    for exhausted in (False, True):
        assert len([*batches] if exhausted else [next(batches)]) == 1
        first.commit()
        other.load_state_dict(first.state_dict(), done=first.done)
        assert (other.resumed, other.done) == (True, 1 + exhausted)
        assert other.state_dict()["ranks"][0]["exhausted"] == exhausted
