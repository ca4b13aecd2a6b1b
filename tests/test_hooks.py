"""What a log hook may do without changing the run."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.helpers import Noisy, make_trainer, pole_batches, same, weights
from zeroproof.training.hooks import GuardedHook

Hook = Callable[[dict[str, float], Any], object]


def trainer_of(hook: Hook | None, **options: Any) -> Any:
    """A trainer whose model, loader and loss draw on every generator."""
    torch.manual_seed(1)
    model, (batch,) = Noisy(), pole_batches((24,))
    loader = DataLoader(TensorDataset(*batch), batch_size=4, shuffle=True)
    own = {"max_epochs": 2, "val_loader": pole_batches((4,)), "gradient_accumulation_steps": 2}
    trainer: Any = make_trainer(
        model, loader, log_hook=hook and (lambda r: hook(r, trainer)), **own | options
    )
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(2)
    return trainer


def states() -> str:
    key = [part.tolist() if hasattr(part, "tolist") else part for part in np.random.get_state()]
    return repr((torch.get_rng_state().tolist(), random.getstate(), key))


def run(hook: Hook | None, **options: Any) -> Any:
    """The weights and random states that a run leaves."""
    trainer = trainer_of(hook, **options)
    try:
        trainer.fit()
        return weights(trainer.model), states()
    finally:
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)


def set_gradients(record: dict[str, float], trainer: Any) -> None:
    trainer.model(torch.ones(2, 2))[0].sum().backward()


def draw_normals(record: dict[str, float], trainer: Any) -> None:
    np.random.normal(size=int(record["micro_step"]) % 3 if "micro_step" in record else 1)


def validate(record: dict[str, float], trainer: Any) -> None:
    if "loss" in record:
        trainer.validate()
        torch.rand(1)


HOOKS: dict[str, Hook] = {
    "draws": lambda record, trainer: torch.rand(3),
    "seeds": lambda record, trainer: torch.manual_seed(0),
    "draws in Python": lambda record, trainer: random.gauss(0, 1),
    "draws in NumPy": draw_normals,
    "seeds NumPy": lambda record, trainer: np.random.seed(0),
    "forgets train()": lambda record, trainer: trainer.model.eval(),
    "forgets train() of a part": lambda record, trainer: trainer.model.drop.eval(),
    "forgets no_grad": lambda record, trainer: torch.set_grad_enabled(False),
    "forgets the dtype": lambda record, trainer: torch.set_default_dtype(torch.float64),
    "leaves gradients": set_gradients,
    "runs the model": lambda record, trainer: trainer.model(torch.ones(2, 2)),
    "validates": validate,
    "clears": lambda record, trainer: (record.clear(), trainer.records.records.clear()),
}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_changes_no_run(name: str, unchecked: None) -> None:
    expected, states_before = run(None)
    found, states_after = run(HOOKS[name])
    assert same(found, expected)
    assert states_after == states_before


def test_a_slow_and_a_fast_loader_make_the_same_run(unchecked: None) -> None:
    class Timed:
        def __init__(self, seconds: float) -> None:
            self.seconds, self.count = seconds, 0

        def __iter__(self) -> Iterator[Any]:
            for batch in pole_batches((4,) * 8):
                time.sleep(self.seconds)
                self.count += 1
                yield batch

    def run_of(loader: Timed) -> tuple[list[torch.Tensor], list[int]]:
        arrived = list[int]()

        def hook(record: dict[str, float]) -> None:
            torch.rand(1)
            arrived.append(loader.count)

        torch.manual_seed(1)
        model = Noisy()
        for seed in (torch.manual_seed, random.seed, np.random.seed):
            seed(2)
        make_trainer(model, loader, log_hook=hook).fit()
        return weights(model), arrived

    (fast, early), (slow, late) = run_of(Timed(0.0)), run_of(Timed(0.02))
    assert same(fast, slow)
    assert early == late


def test_a_hook_that_raises_leaves_the_random_states(unchecked: None) -> None:
    def draw(record: dict[str, float]) -> None:
        torch.rand(1)
        random.random()
        np.random.normal()
        raise StopIteration

    np.random.normal()  # of which there is now another one saved
    before, hook = states(), GuardedHook(draw)
    with pytest.raises(StopIteration):
        hook({})
    assert states() == before


def test_a_state_saved_after_draws_is_that_of_the_run(unchecked: None) -> None:
    saved: dict[str, Any] = {}

    def hook(record: dict[str, float], trainer: Any) -> None:
        torch.rand(1)
        np.random.normal()
        if record.get("micro_step") == 3:
            saved.update(copy.deepcopy(trainer.state_dict()))

    whole, _ = run(hook)
    resumed = trainer_of(None)
    resumed.load_state_dict(saved)
    resumed.fit()
    assert same(weights(resumed.model), whole)


@pytest.mark.parametrize("call", ["fit", "train_step", "load_state_dict"])
def test_a_hook_cannot_continue_the_run_inside_itself(call: str) -> None:
    given = {"train_step": pole_batches((4,)), "load_state_dict": [{}]}.get(call, [])
    hook: Hook = lambda record, trainer: getattr(trainer, call)(*given)  # noqa: E731
    with pytest.raises(RuntimeError, match=rf"log_hook called {call}\(\), .* raise an error"):
        trainer_of(hook).fit()
