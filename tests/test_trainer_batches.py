"""What loaders may yield, and how it reaches model and device."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import finite_batches, fit_loss, make_trainer, small_model
from zeroproof.training.batches import split_batch


def test_device_moves_the_model_and_the_batches() -> None:
    model = small_model()
    trainer = make_trainer(model, finite_batches(1), fit_loss, device="meta")
    assert {p.device.type for p in model.parameters()} == {"meta"}
    moved: list[str] = []
    model.register_forward_hook(lambda m, inputs, o: moved.append(inputs[0].device.type))
    with pytest.raises(ValueError, match="none of the optimizer's"):  # "meta" makes new ones
        trainer.fit()
    assert moved == ["meta"]
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="finds no CUDA device"):
            make_trainer(model, [], device="cuda")


def test_every_tensor_of_a_batch_is_moved() -> None:
    class Pair(NamedTuple):
        x: Tensor
        name: str

    tensor = torch.rand(4)
    nested = {"list": [tensor], "tuple": (tensor, None), "named": Pair(tensor, "a"), "own": 3}
    inputs, targets = split_batch((nested, tensor), torch.device("meta"))
    moved = [targets, inputs["list"][0], inputs["tuple"][0], inputs["named"].x]
    assert [t.device.type for t in moved] == ["meta"] * 4
    assert (inputs["named"].name, inputs["tuple"][1], inputs["own"]) == ("a", None, 3)
    assert type(inputs["named"]) is Pair


def test_loaders_that_cannot_train_are_named() -> None:
    with pytest.raises(ValueError, match="train_loader yielded nothing in epoch 0"):
        make_trainer(small_model(), []).fit()
    once = iter(finite_batches(2))
    with pytest.raises(ValueError, match="nothing in epoch 1; an iterator can be read only once"):
        make_trainer(small_model(), once, max_epochs=2).fit()
    x = torch.rand(4, 2)
    for batch, got in (
        (x, "Tensor ;"),
        (3, "int ;"),
        ((1, 2, 3), "tuple ['int', 'int', 'int']"),
        ([x, None], "list ['Tensor', 'NoneType']"),
    ):
        with pytest.raises(TypeError, match="must yield pairs") as caught:
            make_trainer(small_model(), [batch]).fit()
        assert f"got {got}" in str(caught.value)
    with pytest.raises(ValueError, match="at least one sample"):
        make_trainer(small_model(), [(torch.rand(0, 2), torch.rand(0))]).fit()


def test_a_window_of_one_batch_that_is_overwritten_is_refused() -> None:
    class Reused:
        """Yields the same tensors again and again, with other values."""

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            own = torch.empty(4, 2), torch.empty(4)
            for batch in finite_batches(4):
                for tensor, values in zip(own, batch, strict=True):
                    tensor.copy_(values)
                yield own

    make_trainer(small_model(), Reused(), fit_loss).fit()
    trainer = make_trainer(small_model(), Reused(), fit_loss, gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match="wrote into micro-batch 0 before it was trained on"):
        trainer.fit()
    same_twice = [finite_batches(1)[0]] * 4
    make_trainer(small_model(), same_twice, fit_loss, gradient_accumulation_steps=2).fit()


def test_nested_inputs_reach_the_model() -> None:
    class Dict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small_model()

        def forward(self, inputs: dict[str, Any]) -> Any:
            assert inputs["name"] == "run"
            return self.inner(inputs["parts"][0])

    batches = [({"parts": [x], "name": "run"}, y) for x, y in finite_batches(2)]
    assert len(make_trainer(Dict(), batches).fit()) == 2


def test_a_loader_over_an_iterable_data_set_trains() -> None:
    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            yield from ((x[0], y[0]) for x, y in finite_batches(6))

    loader = torch.utils.data.DataLoader(Stream(), batch_size=3)
    assert len(make_trainer(small_model(), loader, max_epochs=2).fit()) == 4


def test_a_mapping_of_inputs_keeps_its_kind() -> None:
    class Named(dict[str, Any]):
        note = ""

    given = defaultdict(list, a=torch.rand(4)), OrderedDict(a=torch.rand(4)), Named(a=torch.rand(4))
    given[-1].note = "kept"
    moved, _ = split_batch((given, torch.rand(4)), torch.device("meta"))
    assert [*map(type, moved)] == [*map(type, given)]
    assert {inputs["a"].device.type for inputs in moved} == {"meta"}
    assert moved[0]["absent"] == []
    assert moved[-1].note == "kept"
    assert {inputs["a"].device.type for inputs in given} == {"cpu"}


def test_inputs_keep_their_kind() -> None:
    class Parts(NamedTuple):
        x: Tensor
        packed: Any

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.memory = small_model(), nn.GRU(2, 2, batch_first=True)

        def forward(self, inputs: Parts) -> Any:
            _, state = self.memory(inputs.packed)
            return self.inner(inputs.x + state[0])

    packed = nn.utils.rnn.pack_padded_sequence(torch.rand(4, 3, 2), [3, 2, 2, 1], batch_first=True)
    assert len(make_trainer(Named(), [(Parts(torch.rand(4, 2), packed), torch.rand(4))]).fit()) == 1
