"""What fit takes: losses and their arguments, loaders, devices, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import (
    ValueModel,
    coverage_run,
    finite_batches,
    fit_loss,
    make_trainer,
    pole_batches,
    same,
    small_model,
    weights,
)
from zeroproof.losses import SCMTrainingLoss
from zeroproof.training import trainer as trainers
from zeroproof.training.compiled import CompiledUpdate
from zeroproof.training.curriculum import LinearRamp, LossWeightsCurriculum
from zeroproof.training.distributed import Ranks


def test_fit_trains_in_train_mode() -> None:
    model = nn.Sequential(nn.Dropout(0.5), small_model()).eval()
    modes: list[bool] = []
    model.register_forward_hook(lambda m, i, o: modes.append(m.training))
    make_trainer(model, finite_batches(2)).fit()
    assert modes == [True, True]


def test_curriculum_weights_reach_the_loss_epoch_by_epoch() -> None:
    seen: list[Any] = []

    def loss(
        outputs: Any,
        lifted: Any,
        *,
        loss_weights: dict[str, float],
        epoch: int,
        global_step: int,
        inputs: Tensor,
        targets: Tensor,
    ) -> Tensor:
        seen.append((loss_weights, epoch, global_step, inputs, targets))
        return fit_loss(outputs, lifted)

    batches = finite_batches(1)
    make_trainer(
        small_model(),
        batches,
        loss,
        max_epochs=3,
        loss_weights={"fit": 2.0, "sign": 7.0},
        loss_curriculum=LossWeightsCurriculum({"sign": LinearRamp(0.0, 1.0, end_epoch=2)}),
        val_loader=batches,
    ).fit()
    expected = [{"fit": 2.0, "sign": s} for s in (0.0, 0.5, 1.0)]
    assert [s[0] for s in seen[::2]] == expected
    assert [s[0] for s in seen[1::2]] == expected, "validation has the weights of its epoch"
    assert [s[1:3] for s in seen[::2]] == [(0, 0), (1, 1), (2, 2)]
    assert seen[0][3] is batches[0][0]
    assert seen[0][4] is batches[0][1]


def test_a_loss_may_bring_a_curriculum_that_options_replace() -> None:
    seen: list[dict[str, float] | None] = []

    class Narrowing(SCMTrainingLoss):
        def __call__(self, outputs: Any, lifted: Any, *, loss_weights: Any = None) -> Any:
            seen.append(loss_weights)
            return super().__call__(outputs, lifted, loss_weights=loss_weights)

        def default_curriculum(self, max_epochs: int) -> Callable[[int], dict[str, float]]:
            return lambda epoch: {"resolution": epoch / max_epochs, "sign": 9.0, "margin": 9.0}

    options: dict[str, Any] = {
        "loss_weights": {"sign": 1.0, "margin": 1.0},
        "loss_curriculum": lambda epoch: {"margin": 2.0},
    }
    for given in ({}, options):
        batches = finite_batches(1)
        given = {"max_epochs": 2, "val_loader": batches, **given}
        make_trainer(small_model(), batches, Narrowing(), **given).fit()
    _, _, trained, validated = seen[:4]
    assert trained == {"resolution": 0.5, "sign": 9.0, "margin": 9.0}
    assert validated is None, "a validation compares epochs by one measure"
    _, _, trained, validated = seen[4:]
    assert trained == {"resolution": 0.5, "sign": 1.0, "margin": 2.0}
    assert validated == {"sign": 1.0, "margin": 2.0}


def test_a_curriculum_is_asked_once_an_epoch() -> None:
    asked: list[int] = []

    def curriculum(epoch: int) -> dict[str, float]:
        asked.append(epoch)
        return {"sign": 0.5}

    batches = finite_batches(3)
    options: dict[str, Any] = {"loss_curriculum": curriculum, "val_loader": batches}
    make_trainer(small_model(), batches, max_epochs=2, **options).fit()
    assert asked == [0, 1]


def test_a_loss_of_one_element_is_a_scalar() -> None:
    batches, runs = finite_batches(3), []
    for loss in (fit_loss, lambda outputs, lifted: fit_loss(outputs, lifted).reshape(1)):
        model = small_model()
        runs.append((make_trainer(model, batches, loss).fit(), weights(model)))
    assert runs[0][0] == runs[1][0]
    assert same(runs[0][1], runs[1][1])


def test_loss_weights_change_the_composite_loss() -> None:
    batches = [(x, torch.where(y > 0, torch.inf, y)) for x, y in pole_batches((16,))]
    losses = {}
    for sign in (0.0, 1.0, 5.0):
        record = make_trainer(small_model(), batches, loss_weights={"sign": sign}).fit()[0]
        losses[sign] = record["loss"]
        assert record["loss_sign"] > 0
    assert losses[1.0] == make_trainer(small_model(), batches).fit()[0]["loss"]
    gap = losses[1.0] - losses[0.0]
    assert losses[5.0] - losses[0.0] == pytest.approx(5 * gap, rel=1e-4)
    with pytest.raises(ValueError, match="unknown terms \\['sgin'\\]"):
        make_trainer(small_model(), batches, loss_weights={"sgin": 1.0}).fit()


def test_loss_arguments_reach_exactly_those_losses_that_accept_them() -> None:
    got: dict[str, Any] = {}

    def everything(outputs: Any, targets: Any, **kwargs: Any) -> Tensor:
        got.update(kwargs)
        return fit_loss(outputs, targets)

    make_trainer(small_model(), finite_batches(1), everything, loss_weights={"a": 1.0}).fit()
    assert sorted(got) == ["epoch", "global_step", "inputs", "loss_weights", "tau"]

    def third(outputs: Any, targets: Any, tau: float, **kwargs: Any) -> Tensor:
        got.update(tau=tau)
        return fit_loss(outputs, targets)

    def alone(outputs: Any, targets: Any, tau: float) -> Tensor:
        return third(outputs, targets, tau)

    for loss in (third, alone):
        got.clear()
        make_trainer(small_model(), finite_batches(1), loss, tau_train_max=1e-4).fit()
        assert got == {"tau": 1e-4}
    for option in ({"loss_weights": {"fit": 1.0}}, {"loss_curriculum": lambda epoch: {}}):
        with pytest.raises(ValueError, match="accepts no argument 'loss_weights'"):
            make_trainer(small_model(), finite_batches(1), fit_loss, **option)


def test_progress_shows_loss_and_coverage(capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer(small_model(), finite_batches(3), progress=True).fit()
    shown = capsys.readouterr().err
    assert "coverage=" in shown
    assert "loss=" in shown
    assert "3/3" in shown
    assert "epoch 1/1" in shown
    make_trainer(small_model(), finite_batches(3)).fit()
    assert capsys.readouterr().err == ""


def test_progress_goes_on_where_the_run_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Unsized:
        def __iter__(self) -> Iterator[Any]:
            return iter(batches)

    batches = finite_batches(3)
    first = make_trainer(small_model(), batches, max_epochs=2)
    first.fit()
    first.save_checkpoint(tmp_path / "run.pt")
    for loader, last in ((batches, "9/9"), (Unsized(), "3it")):
        trainer = make_trainer(small_model(), loader, max_epochs=3, progress=True)
        trainer.load_checkpoint(tmp_path / "run.pt")
        trainer.fit()
        assert last in capsys.readouterr().err.split("\r")[-1]


def test_fit_returns_its_own_records() -> None:
    batches = finite_batches(2)
    trainer = make_trainer(small_model(), batches)
    trainer.train_step(batches[0])
    assert [r["micro_step"] for r in trainer.fit()] == [1, 2]


def test_a_model_without_parameters_trains_its_loss_on_the_cpu() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x[:, 0], x[:, 1] + 1

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, outputs: Any, lifted: Any) -> Tensor:
            return self.scale * fit_loss(outputs, lifted)

    loss = Scaled()
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    trainer = make_trainer(Constant(), finite_batches(1), loss, optimizer=optimizer)
    trainer.fit()
    assert trainer.evaluate.device == torch.device("cpu")
    assert loss.scale.item() < 1.0


def test_max_epochs_and_a_second_fit() -> None:
    trainer = make_trainer(small_model(), finite_batches(2), max_epochs=3)
    assert len(trainer.fit()) == 6
    with pytest.raises(RuntimeError, match=r"nothing to do: 3 epochs are done and max_epochs"):
        trainer.fit()
    trainer, _ = coverage_run([4], coverage_threshold=1.0)
    with pytest.raises(RuntimeError, match=r"1 epochs are done and coverage stopped it"):
        trainer.fit()


def test_outputs_and_losses_of_the_wrong_form_are_named(unchecked: None) -> None:
    class Text(ValueModel):
        def forward(self, x: Tensor) -> Any:
            return "text"

    with pytest.raises(TypeError, match="the model returned 'text'"):
        make_trainer(Text(), finite_batches(1)).fit()

    def vector(outputs: Any, lifted: Any) -> Tensor:
        return outputs[0]

    with pytest.raises(
        TypeError, match=r"the loss .* must be a scalar, got Tensor of .* shape \(4,\)"
    ):
        make_trainer(small_model(), finite_batches(1), vector).fit()
    with pytest.raises(TypeError, match=r"must return a scalar tensor, got 1\.0"):
        make_trainer(small_model(), finite_batches(1), lambda outputs, lifted: 1.0).fit()
    wide = [(x, y[:, None]) for x, y in finite_batches(1)]
    with pytest.raises(ValueError, match="broadcasting would pair"):
        make_trainer(small_model(), wide).fit()


def test_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda f, **_: compiled.append(f.__name__) or f)
    make_trainer(small_model(), finite_batches(1))
    assert compiled == []
    trainer = make_trainer(small_model(), finite_batches(1), compile=True)
    assert set(compiled) == {"_update_in_graph"}
    compiled.clear()
    assert isinstance(trainer.update, CompiledUpdate)
    make_trainer(small_model(), [], compile=True, device="meta")
    assert compiled == ["_in_graph"], "the loss alone where the update is not on the CPU"


def test_what_cannot_be_compiled_is_named() -> None:
    model, outside = small_model(), nn.Parameter(torch.ones(()))
    search = torch.optim.LBFGS(model.parameters())
    with pytest.raises(ValueError, match="cannot trace LBFGS, whose step takes a closure"):
        make_trainer(model, [], optimizer=search, compile=True)
    optimizer = torch.optim.SGD([*model.parameters(), outside], lr=0.1)
    with pytest.raises(ValueError, match="the optimizer has others"):
        make_trainer(model, [], optimizer=optimizer, compile=True)


def test_the_loader_of_a_trainer_cannot_be_set() -> None:
    batches = finite_batches(1)
    trainer = make_trainer(small_model(), batches)
    assert trainer.train_loader is batches
    with pytest.raises(AttributeError, match="train_loader"):
        trainer.train_loader = []  # type: ignore[misc]
    assert trainer.train_loader is batches


def test_ranks_join_for_the_device_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(trainers, "Ranks", lambda device: asked.append(device) or Ranks(device))
    for device in ("cpu", None):
        make_trainer(small_model(), finite_batches(1), device=device)
    assert asked == [torch.device("cpu"), None]


@pytest.mark.parametrize("amp", [{}, {"use_amp": True, "amp_dtype": "fp16"}])
def test_an_optimizer_of_other_parameters_is_named(amp: dict[str, Any]) -> None:
    optimizer = torch.optim.SGD(small_model().parameters(), lr=0.1)
    trainer = make_trainer(small_model(), finite_batches(2), optimizer=optimizer, **amp)
    with pytest.raises(ValueError, match="reaches none of the optimizer's parameters"):
        trainer.fit()
