"""What validations leave of samplers and merged weights; what a batch of any kind is made of."""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import make_trainer, pole_batches, same, small_model, weights
from tests.loaders import EXACT
from zeroproof.training import evaluation
from zeroproof.training.batches import map_tensors
from zeroproof.training.config import TrainingConfig
from zeroproof.training.curriculum import GeometricRamp, LossWeightsCurriculum
from zeroproof.training.distributed import Ranks
from zeroproof.training.loader import LoaderState
from zeroproof.training.parts import fingerprint


class Merging(nn.Linear):
    """Merges a correction into its weight in eval mode."""

    merged = False

    def train(self, mode: bool = True) -> Merging:
        if self.merged is mode:
            self.weight.data += -1 if mode else 1
            self.merged = not mode
        return super().train(mode)


def test_a_validation_leaves_no_weights_merged() -> None:
    frozen, model = Merging(2, 2).eval(), nn.Sequential(Merging(2, 2), small_model())
    model.append(nn.Sequential())
    model[0].frozen = frozen
    before = weights(model[0])
    trainer = make_trainer(model, [], val_loader=pole_batches((4,)))
    trainer.validate()
    assert (model[0].merged, model[0].training) == (False, True)
    assert (frozen.merged, frozen.training) == (True, False)
    torch.testing.assert_close(weights(model[0]), before)


def test_a_validation_on_the_training_loader_leaves_its_samplers_counter() -> None:
    found: list[list[Tensor]] = []
    for validates in (False, True):
        loader = EXACT["a sampler's counter"]()
        options = {"val_loader": loader} if validates else {}
        trainer = make_trainer(small_model(), loader, max_epochs=2, **options)
        trainer.fit()
        found.append(weights(trainer.model))
    assert same(*found)


@dataclass
class Sample:
    x: Tensor
    name: str


class Picture:
    """As those of PIL are: an array without a shape."""

    __array_interface__ = None

    def __init__(self, content: bytes) -> None:
        self.content = content

    def tobytes(self) -> bytes:
        return self.content


@pytest.mark.parametrize(
    "make",
    [
        lambda x: Sample(torch.tensor(x), "a"),
        lambda x: Sample(torch.zeros(()), str(x)),
        lambda x: array.array("d", [x]),
        lambda x: Picture(str(x).encode()),
    ],
)
def test_batches_of_any_kind_are_told_apart(make: Any) -> None:
    one, same_one, other = ([make(x)] for x in (1.0, 1.0, 2.0))
    assert fingerprint(one) == fingerprint(same_one) != fingerprint(other)
    assert map_tensors(one, lambda x: None) == one


def test_a_loader_that_cannot_load_a_state_is_replayed() -> None:
    class Half(list[Any]):
        def state_dict(self) -> dict[str, Any]:
            return {}

    first, other = (LoaderState(Half(pole_batches((4, 4))), Ranks(None)) for _ in range(2))
    next(first.iterate())
    first.commit()
    other.load_state_dict(first.state_dict(), done=1)
    assert len(list(other.iterate())) == 1


def test_each_rank_takes_its_own_gpu_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    ranks, config = Ranks(None), TrainingConfig(device="cuda")
    ranks.size = 2
    own = evaluation.training_device(small_model(), config, ranks)
    assert [own] == chosen == [torch.device("cuda", 1)]


def test_a_ramp_has_its_ends_and_names_what_is_no_number() -> None:
    ramp = GeometricRamp(0.1, 0.7, 0, 2)
    assert (ramp(0), ramp(2), ramp(9)) == (0.1, 0.7, 0.7)
    curriculum: Any = LossWeightsCurriculum({"fit": lambda epoch: None})  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match=r"ramps\['fit'\]"):
        curriculum(0)
