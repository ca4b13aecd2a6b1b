"""RES-5: what people put into a state is loaded as it was, or refused by name at the save."""

from __future__ import annotations

import enum
import os
import pickle
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from properties.subjects.zeroproof.ranks import on_ranks
from tests.helpers import fit_in_two, make_trainer, pole_batches, same, small_model, weights
from zeroproof.training.checkpoint import read_checkpoint, to_builtin, write_checkpoint
from zeroproof.training.trainer import CheckpointError, SCMTrainer


@pytest.fixture(autouse=True)
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk, which other tests do."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Part:
    """An object of the user's, with a state."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return {"it": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state["it"]


class Counted(nn.Module):
    """A model whose extra state is NumPy's."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = small_model(), np.zeros(2)

    def forward(self, x: torch.Tensor) -> Any:
        self.calls[0] += 1
        return self.inner(x)

    def get_extra_state(self) -> Any:
        return self.calls

    def set_extra_state(self, state: Any) -> None:
        self.calls = np.asarray(state)


class Places(list[Any]):
    """A loader that knows its place by a number of NumPy's."""

    def state_dict(self) -> dict[str, Any]:
        return {"place": np.int64(3)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert type(state["place"]) is int


def scheduled(make: Callable[[Any], Any], lr: Any = 0.1, **options: Any) -> SCMTrainer:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    scheduler = make(optimizer)
    return make_trainer(
        model, pole_batches([4] * 6), optimizer=optimizer, scheduler=scheduler, **options
    )


LOADED: dict[str, Callable[..., SCMTrainer]] = {
    "a rate by np.cos": lambda **o: scheduled(
        lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda k: np.cos(0.1 * k)), **o
    ),
    "a rate from np.logspace": lambda **o: scheduled(lambda _: None, np.logspace(-1, 0, 3)[0], **o),
    "milestones in an array": lambda **o: scheduled(
        lambda optimizer: lr_scheduler.MultiStepLR(optimizer, np.array([2, 4])), **o
    ),
    "a decay of NumPy's": lambda **o: scheduled(
        lambda optimizer: lr_scheduler.ExponentialLR(optimizer, np.float64(0.9)), **o
    ),
    "a model's own array": lambda **o: make_trainer(Counted(), pole_batches([4] * 6), **o),
    "a loader's own number": lambda **o: make_trainer(
        small_model(), Places(pole_batches([4] * 6)), **o
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LOADED)
def test_numbers_of_numpy_resume_bitwise(case: str, tmp_path: Path) -> None:
    whole = LOADED[case](max_epochs=2)
    whole.fit()
    resumed = LOADED[case](max_epochs=2)
    fit_in_two(LOADED[case](), resumed, tmp_path / "run.pt")
    assert same(weights(resumed.model), weights(whole.model))
    rates = [t.update.optimizer.param_groups[0]["lr"] for t in (resumed, whole)]
    assert rates[0] == rates[1]
    if isinstance(whole.model, Counted):
        assert resumed.model.calls.tolist() == whole.model.calls.tolist()  # type: ignore[union-attr, operator]


class Word(str):
    """A string of a library that reads configurations."""


Pair = namedtuple("Pair", "a b")
Phase = enum.IntEnum("Phase", "FIRST")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.float32(0.5), float), (np.bool_(True), bool), (np.str_("a"), str), (Word("a"), str),
        (defaultdict(int, {"a": 1}), dict), (Counter("aab"), Counter), ({np.int64(1): "a"}, dict),
        (OrderedDict(a=np.int8(1)), OrderedDict), ((1, [None, {2}]), tuple), (1 + 2j, complex),
        (np.void((1, 2.0), dtype="i4,f8"), tuple), (bytearray(b"a"), bytearray), (b"a", bytes),
        (torch.Size([1]), torch.Size), (torch.bfloat16, torch.dtype), (torch.strided, torch.layout),
        (torch.device("cpu"), torch.device), (2**1999, int),
    ],
)  # fmt: skip
def test_a_value_is_loaded_as_an_equal_one(value: Any, kind: type, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a", {"it": value})
    found = read_checkpoint(tmp_path / "a")["it"]
    assert type(found) is kind
    assert found == (value.item() if isinstance(value, np.void) else value)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8", "bool", "complex64"])
def test_an_array_is_loaded_as_a_tensor_of_its_dtype(dtype: str, tmp_path: Path) -> None:
    array = np.arange(6).reshape(2, 3)[:, ::-1].astype(dtype)
    write_checkpoint(tmp_path / "a", {"it": [array, array.sum()]})
    found = read_checkpoint(tmp_path / "a")["it"]
    assert found[0].numpy().dtype == array.dtype
    assert (found[0].numpy() == array).all()
    assert found[1] == array.sum()


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_a_wide_unsigned_array_is_loaded_as_lists(dtype: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a", {"it": np.array([[1, 2]], dtype)})
    assert read_checkpoint(tmp_path / "a")["it"] == [[1, 2]]


class Tagged(torch.Tensor):
    """A subclass that torch does not know."""


REFUSED: dict[str, Any] = {
    "PosixPath": Path("/data"), "function": lambda x: x, "Phase": Phase.FIRST, "Pair": Pair(1, 2),
    "deque": deque([1.0]), "frozenset": frozenset([1]), "Generator": torch.Generator(),
    "Tagged": torch.ones(2).as_subclass(Tagged), "Linear": nn.Linear(1, 1), "int": 2**2040,
    "ndarray": np.array(["a", None]), "longdouble": np.longdouble(1), "type": int,
    "datetime64": np.datetime64(1, "as"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_only_code_could_restore_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    part = Part({"good": [1, 2]})
    saves: dict[str, Any] = {"checkpoint_dir": tmp_path, "checkpoint_every": 1}
    trainer = make_trainer(
        small_model(), pole_batches([4]), extra_state={"mine": part}, max_epochs=9, **saves
    )
    trainer.train_step(*pole_batches([4]))
    trainer.save_checkpoint(tmp_path / "step-good.pt")
    before = [(path, path.read_bytes()) for path in tmp_path.iterdir()]
    part.state["good"].append(REFUSED[kind])
    with pytest.raises(CheckpointError) as caught:
        trainer.fit()
    found = str(caught.value)
    assert found.startswith(f"nothing was saved: extra['mine']['it']['good'][2] is a {kind}, ")
    assert "save numbers, strings, tensors" in found
    assert [(path, path.read_bytes()) for path in tmp_path.iterdir()] == before
    part.state["good"].pop()
    trainer.load_checkpoint(tmp_path / "step-good.pt")


def test_a_path_in_a_group_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    model = small_model()
    optimizer = torch.optim.SGD([{"params": model.parameters(), "path": tmp_path}], lr=0.1)
    trainer = make_trainer(model, pole_batches([4]), optimizer=optimizer)
    with pytest.raises(
        CheckpointError, match=r"optimizer\['param_groups'\]\[0\]\['path'\] is a Pos"
    ):
        trainer.save_checkpoint(tmp_path / "new" / "run.pt")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_saved_is_refused_before_the_first_update(tmp_path: Path) -> None:
    model = small_model()
    optimizer = torch.optim.SGD([{"params": model.parameters(), "own": lambda k: k}], lr=0.1)
    trainer = make_trainer(
        model, pole_batches([4]), optimizer=optimizer, checkpoint_dir=tmp_path / "new"
    )
    with pytest.raises(CheckpointError, match=r"optimizer\['param_groups'\]\[0\]\['own'\] is a f"):
        trainer.fit()
    assert trainer.global_step == 0
    assert list(tmp_path.iterdir()) == []


def test_what_the_program_declares_safe_is_saved(tmp_path: Path) -> None:
    with torch.serialization.safe_globals([Pair]):
        write_checkpoint(tmp_path / "a", {"it": Pair(1, 2)})
        assert read_checkpoint(tmp_path / "a")["it"] == Pair(1, 2)


@pytest.mark.parametrize("content", ["of another release", "cut off"])
def test_a_reader_never_says_how_to_switch_safety_off(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    if content == "cut off":
        path.write_bytes(pickle.dumps({"a": 1}, protocol=2)[:-3])
    else:
        torch.save({"lr": np.float64(1.0)}, path)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    text = "".join(map(str, (caught.value, caught.value.__cause__)))
    assert "weights_only" not in text
    assert "trust" not in text
    assert ("numpy" in text) == (content != "cut off")


def test_a_state_dict_keeps_the_versions_of_its_modules() -> None:
    state = nn.BatchNorm1d(2).state_dict()
    assert to_builtin(state)._metadata == state._metadata  # type: ignore[attr-defined]


def test_a_save_that_fails_on_rank_0_fails_on_every_rank(tmp_path: Path) -> None:
    def task(rank: int) -> str:
        part = Part(Path("/data") if rank == 0 else 1)
        trainer = make_trainer(
            small_model(), pole_batches([4]), checkpoint_dir=tmp_path, checkpoint_every=1,
            extra_state={"mine": part},
        )  # fmt: skip
        with pytest.raises(CheckpointError) as caught:
            trainer.fit()
        return str(caught.value)

    first, second = on_ranks(task, 2)
    assert first == second
    assert "extra['mine']['it']" in first
