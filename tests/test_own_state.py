"""RES-6: what is trained beside the model, and what a user keeps, are in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tests.helpers import (
    fit_in_two,
    fit_loss,
    make_trainer,
    pole_batches,
    same,
    small_model,
    weights,
)
from zeroproof.training.trainer import CheckpointError, SCMTrainer


class Average:
    """An average of the weights that takes the tensors that it is given as its own."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.shadow = model, weights(model)

    def update(self, _: object = None) -> None:
        for mean, p in zip(self.shadow, self.model.parameters(), strict=True):
            mean.lerp_(p.detach(), 0.1)

    def state_dict(self) -> dict[str, Any]:
        return {"shadow": self.shadow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.shadow = state["shadow"]


class Counting:
    """A hook that counts its calls."""

    def __init__(self) -> None:
        self.state = {"calls": 0}

    def __call__(self, record: dict[str, float]) -> None:
        self.state["calls"] += 1

    def state_dict(self) -> dict[str, int]:
        return self.state

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.state = state


def weighted(epochs: int, size: tuple[int, ...] = (), **options: Any) -> tuple[SCMTrainer, Tensor]:
    """Return a trainer whose loss closes over a parameter that its optimizer steps."""
    model, log_var = small_model(), nn.Parameter(torch.zeros(size))

    def loss(outputs: Any, lifted: Any) -> Tensor:
        return ((-log_var).exp() * fit_loss(outputs, lifted) + log_var).mean()

    optimizer = torch.optim.Adam([*model.parameters(), log_var], lr=0.1)
    trainer = make_trainer(
        model, pole_batches([4] * 3), loss, optimizer=optimizer, max_epochs=epochs, **options
    )
    return trainer, log_var


def averaged(epochs: int) -> tuple[SCMTrainer, list[Any]]:
    model = small_model()
    average, count = Average(model), Counting()
    own = {"average": average, "count": count}
    trainer = make_trainer(
        model, pole_batches([4] * 3), max_epochs=epochs, extra_state=own, log_hook=count
    )
    trainer.update.optimizer.register_step_post_hook(lambda *_: average.update())
    return trainer, [average, count]


def swa(epochs: int) -> tuple[SCMTrainer, AveragedModel]:
    model = small_model()
    average = AveragedModel(model)
    trainer = make_trainer(
        model, pole_batches([4] * 3), max_epochs=epochs, extra_state={"swa": average}
    )
    trainer.update.optimizer.register_step_post_hook(lambda *_: average.update_parameters(model))
    return trainer, average


def shown(own: Any) -> Any:
    if isinstance(own, list):
        return [repr(part.state_dict()) for part in own]
    return repr(own.state_dict()) if isinstance(own, nn.Module) else own.tolist()


@pytest.mark.parametrize("make", [weighted, averaged, swa])
def test_what_is_trained_or_kept_beside_the_model_resumes_bitwise(
    make: Callable[[int], tuple[SCMTrainer, Any]], tmp_path: Path
) -> None:
    (whole, expected), (first, _), (resumed, found) = make(3), make(1), make(3)
    whole.fit()
    fit_in_two(first, resumed, tmp_path / "run.pt")
    assert same(weights(resumed.model), weights(whole.model))
    assert shown(found) == shown(expected)


@pytest.mark.parametrize("size", [(3,), (1,), None])
def test_parameters_of_neither_that_differ_are_refused(
    size: tuple[int, ...] | None, tmp_path: Path
) -> None:
    weighted(1)[0].save_checkpoint(tmp_path / "run.pt")
    if size is None:
        trainer, own = make_trainer(small_model(), pole_batches([4] * 3)), torch.zeros(())
    else:
        trainer, own = weighted(1, size)
    before = repr((weights(trainer.model), own))
    with pytest.raises(CheckpointError, match="does not fit this trainer: "):
        trainer.load_checkpoint(tmp_path / "run.pt")
    assert repr((weights(trainer.model), own)) == before


def test_a_shape_of_neither_is_named_with_the_checkpoints(tmp_path: Path) -> None:
    weighted(1)[0].save_checkpoint(tmp_path / "run.pt")
    message = r"parameters of neither model nor loss: \[\(3,\)\], the checkpoint's \[\(\)\]"
    with pytest.raises(CheckpointError, match=message):
        weighted(1, (3,))[0].load_checkpoint(tmp_path / "run.pt")


def test_a_state_that_is_loaded_twice_is_the_same_both_times() -> None:
    first, _ = averaged(1)
    first.fit()
    state = first.state_dict()
    expected = repr(state["extra"])
    first.config.extra_state["average"].shadow = []  # type: ignore[index]
    for _ in range(2):
        trainer, _own = averaged(2)
        trainer.load_state_dict(state)
        assert repr(trainer.state_dict()["extra"]) == expected
        trainer.fit()


class Failing(Counting):
    """An object that cannot be loaded."""

    def load_state_dict(self, state: dict[str, int]) -> None:
        if state["calls"]:
            raise KeyError("mean")
        super().load_state_dict(state)


def test_an_object_that_fails_to_load_leaves_all_as_it_was(unchecked: None) -> None:
    first, _ = averaged(1)
    first.fit()
    model = small_model(1)
    own = {"average": Average(model), "count": Failing()}
    other = make_trainer(model, pole_batches([4] * 3), extra_state=own)
    before = repr(other.state_dict())
    with pytest.raises(CheckpointError, match="does not fit this trainer: 'mean'"):
        other.load_state_dict(first.state_dict())
    assert repr(other.state_dict()) == before


@pytest.mark.parametrize("given", [{}, {"mean": Counting()}])
def test_objects_of_other_names_are_named(given: dict[str, Any]) -> None:
    first, _ = averaged(1)
    other = make_trainer(small_model(), pole_batches([4] * 3), extra_state=given)
    message = rf"extra_state has \{list(given)}, the checkpoint \['average', 'count'\]"
    with pytest.raises(CheckpointError, match=message):
        other.load_state_dict(first.state_dict())
