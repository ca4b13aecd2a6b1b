"""Epochs, thresholds, coverage, early stop, validation, logging and curricula."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.loops import ValueModel, fit_loss, make_trainer, pole_batches, same, small_model, weights
from zeroproof.losses import SCMTrainingLoss
from zeroproof.scm import SCMTensor
from zeroproof.training.curriculum import LinearRamp, LossWeightsCurriculum

KEYS = {"loss", "coverage", "tau_train", "bottom_frac", "denom_abs_min", "denom_abs_mean"}


def square(outputs: Any, lifted: Any) -> Tensor:
    value = outputs[0] if isinstance(outputs, tuple) else outputs
    return torch.nan_to_num(value).square().mean()


def finite_batches(count: int, size: int = 4) -> list[tuple[Tensor, Tensor]]:
    return [(torch.rand(size, 2), torch.rand(size)) for _ in range(count)]


def coverage_run(bottoms: list[int], form: str = "nan", **options: Any) -> Any:
    """Train on 10 batches of 4 samples, of which ``bottoms`` are ⊥ in each."""
    model = ValueModel(form)
    model.bottoms = bottoms
    batches = options.pop("batches", finite_batches(len(bottoms)))
    trainer = make_trainer(model, batches, square, **{"max_epochs": 4, **options})
    return trainer, trainer.fit()


@pytest.mark.parametrize("form", ["nan", "mask"])
def test_nine_good_batches_and_a_bad_last_one_do_not_stop_a_run(form: str) -> None:
    trainer, records = coverage_run([0] * 9 + [4], form, coverage_threshold=0.9)
    assert len(records) == 40
    assert not trainer.stopped
    trainer, records = coverage_run([0] + [4] * 9, form, coverage_threshold=0.9)
    assert len(records) == 10
    assert trainer.stopped


def test_patience_counts_consecutive_bad_epochs() -> None:
    bad, good = [4] * 2, [0] * 2
    model = ValueModel()
    model.bottoms = bad + good + bad + bad + good
    trainer = make_trainer(
        model,
        finite_batches(2),
        square,
        max_epochs=5,
        coverage_threshold=0.5,
        coverage_patience=2,
    )
    assert len(trainer.fit()) == 8, "bad, good, bad, bad: stops after the fourth epoch"


def test_coverage_equal_to_the_threshold_is_not_below_it() -> None:
    trainer, _ = coverage_run([2] * 2, coverage_threshold=0.5)
    assert not trainer.stopped
    trainer, _ = coverage_run([2] * 2, coverage_threshold=0.51)
    assert trainer.stopped


def test_unequal_batches_are_weighted_by_their_samples() -> None:
    batches = [finite_batches(1, 30)[0], finite_batches(1, 2)[0]]
    trainer, _ = coverage_run([0, 2], batches=batches, coverage_threshold=0.9)
    assert not trainer.stopped, "coverage is 30/32, though the mean of means is 1/2"


def test_singular_samples_are_meant_to_be_bottom_and_do_not_stop_a_run() -> None:
    batches = [(x, torch.where(torch.arange(4) < 3, torch.inf, y)) for x, y in finite_batches(5)]
    trainer, records = coverage_run([3] * 5, batches=batches, coverage_threshold=0.9)
    assert not trainer.stopped
    assert records[0]["coverage"] == 0.25
    assert records[0]["coverage_finite"] == 1.0
    assert records[0]["bottom_recall"] == 1.0
    trainer, _ = coverage_run([4] * 5, batches=batches, coverage_threshold=0.9)
    assert trainer.stopped


def test_an_epoch_of_nothing_but_singular_targets_leaves_the_counter_as_it_is() -> None:
    batches = [(x, y * torch.nan) for x, y in finite_batches(2)]
    trainer, _ = coverage_run([4] * 2, batches=batches, coverage_threshold=1.0)
    assert not trainer.stopped
    assert trainer.stop.bad_epochs == 0


def test_infinite_outputs_are_not_covered() -> None:
    class Infinite(ValueModel):
        def forward(self, x: Tensor) -> Any:
            return (x @ self.w).masked_fill(torch.tensor([True, False, False, False]), torch.inf)

    def loss(outputs: Any, lifted: Any) -> Tensor:
        return torch.nan_to_num(outputs, posinf=0.0).square().mean()

    records = make_trainer(Infinite(), finite_batches(1), loss).fit()
    assert records[0]["coverage"] == 0.75


def test_a_sample_with_several_outputs_is_covered_if_all_of_them_are() -> None:
    class Two(ValueModel):
        def forward(self, x: Tensor) -> Any:
            value = (x @ self.w)[:, None].expand(-1, 2)
            bottom = torch.zeros(len(x), 2, dtype=torch.bool)
            bottom[0, 1] = True
            return value, bottom

    batches = [(torch.rand(4, 2), torch.rand(4, 2))]
    record = make_trainer(Two(), batches, square).fit()[0]
    assert record["coverage"] == 0.75
    assert record["bottom_frac"] == 0.125


def test_a_carrier_is_an_output_too() -> None:
    class Carrier(ValueModel):
        def forward(self, x: Tensor) -> Any:
            return SCMTensor(x @ self.w) / SCMTensor(x[:, 0] * 0 + torch.tensor([0.0, 1, 1, 1]))

    model = Carrier()
    before = weights(model)
    record = make_trainer(
        model, finite_batches(1), SCMTrainingLoss(), gradient_policy="clamp"
    ).fit()[0]
    assert record["coverage"] == 0.75
    assert not same(weights(model), before)


def test_thresholds_are_uniform_reproducible_and_the_trainers_own() -> None:
    state = torch.get_rng_state()
    runs = []
    for seed in (0, 0, 1):
        trainer = make_trainer(
            small_model(),
            finite_batches(400, 1),
            tau_train_min=0.2,
            tau_train_max=0.6,
            seed=seed,
            max_epochs=2,
        )
        torch.set_rng_state(state)
        records = trainer.fit()
        assert torch.equal(torch.get_rng_state(), state)
        assert [r["tau_train"] for r in records[400:]] == trainer.last_thresholds
        runs.append([r["tau_train"] for r in records])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert runs[0][:400] != runs[0][400:]
    draws = torch.tensor(runs[0])
    assert draws.min() >= 0.2
    assert draws.max() <= 0.6
    counts = torch.histc(draws, bins=4, min=0.2, max=0.6)
    assert (counts - 200).abs().max() < 60, counts


def test_the_threshold_of_a_micro_batch_decides_its_coverage_and_reaches_the_loss() -> None:
    seen: list[float] = []

    def loss(outputs: Any, lifted: Any, *, tau: float) -> Tensor:
        seen.append(tau)
        return fit_loss(outputs, lifted)

    batches = [(20 * x - 10, y) for x, y in finite_batches(8, 64)]
    trainer = make_trainer(small_model(), batches, loss, tau_train_min=0.0, tau_train_max=0.5)
    qs: list[Tensor] = []
    trainer.model.register_forward_hook(lambda m, i, o: qs.append(o[1].detach().abs()))
    records = trainer.fit()
    assert seen == trainer.last_thresholds
    for record, q, tau in zip(records, qs, seen, strict=True):
        assert record["coverage"] == (q >= tau).double().mean().item()
        assert record["denom_abs_min"] == q.min().item()
        assert record["denom_abs_mean"] == pytest.approx(q.mean().item())
    assert {record["coverage"] for record in records} - {0.0, 1.0}


def test_log_hook_gets_every_micro_batch_as_floats_and_then_the_validation() -> None:
    seen: list[dict[str, float]] = []
    trainer = make_trainer(
        small_model(),
        finite_batches(3),
        log_hook=seen.append,
        val_loader=finite_batches(2),
        max_epochs=2,
    )
    records = trainer.fit()
    assert [s for s in seen if "loss" in s] == records
    assert ["val_loss" in s for s in seen] == [False, False, False, True] * 2
    assert all(records[i].keys() >= KEYS for i in range(6))
    assert all(type(v) is float for s in seen for v in s.values())
    assert [r["micro_step"] for r in records] == [0, 1, 2, 3, 4, 5]
    assert [s["epoch"] for s in seen] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_hook_that_raises_stops_training_with_its_own_error() -> None:
    def hook(metrics: dict[str, float]) -> None:
        if metrics["micro_step"] == 1:
            raise KeyError("mine")

    trainer = make_trainer(small_model(), finite_batches(5), log_hook=hook)
    with pytest.raises(KeyError, match="mine"):
        trainer.fit()
    assert trainer.global_step <= 3


def test_history_keeps_the_latest_records_only() -> None:
    trainer = make_trainer(small_model(), finite_batches(9), history_limit=4)
    assert [r["micro_step"] for r in trainer.fit()] == [5, 6, 7, 8]


def test_validation_is_weighted_by_samples_and_uses_the_midpoint() -> None:
    model = small_model()
    taus: list[float] = []

    def loss(outputs: Any, lifted: Any, *, tau: float) -> Tensor:
        taus.append(tau)
        return fit_loss(outputs, lifted)

    val = finite_batches(1, 9) + finite_batches(1, 1)
    trainer = make_trainer(
        model, finite_batches(1), loss, val_loader=val, tau_train_min=0.01, tau_train_max=0.03
    )
    trainer.fit()
    with torch.no_grad():
        losses = [fit_loss(model(x), (y, torch.ones_like(y))).item() for x, y in val]
        smallest = min(model(x)[1].abs().min().item() for x, _ in val)
    record = trainer.val_history[0]
    assert record["val_loss"] == pytest.approx(0.9 * losses[0] + 0.1 * losses[1], rel=1e-6)
    assert record["val_denom_abs_min"] == smallest
    assert taus[1:] == [0.02, 0.02]
    assert trainer.validate() == trainer.val_history[1] == record


def test_validation_covers_the_epochs_samples() -> None:
    model = ValueModel()
    model.bottoms = [0, 0, 2]
    val = finite_batches(1, 30) + finite_batches(1, 2)
    trainer = make_trainer(model, finite_batches(1), square, val_loader=val)
    trainer.fit()
    assert trainer.val_history[0]["val_coverage"] == 30 / 32


class Restless(nn.Module):
    """Dropout, running statistics and a buffer that counts forwards in any mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.model = nn.BatchNorm1d(2), nn.Dropout(0.5), small_model()
        self.register_buffer("forwards", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        self.forwards += 1
        return self.model(self.drop(self.norm(x)))


@pytest.mark.parametrize("raises", [False, True])
def test_training_with_validation_is_bitwise_training_without(raises: bool) -> None:
    def val_loader() -> Any:
        data = torch.utils.data.TensorDataset(torch.rand(8, 2), torch.rand(8))
        return torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)

    class Broken:
        def __iter__(self) -> Iterator[Any]:
            torch.rand(3)
            yield torch.rand(4, 2), torch.rand(4)
            raise OSError("disk")

    data = torch.utils.data.TensorDataset(*pole_batches((24,))[0])
    runs = []
    for validate in (False, True):
        torch.manual_seed(1)
        model = Restless()
        frozen = model.norm
        loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
        options: dict[str, Any] = {}
        if validate:
            options["val_loader"] = Broken() if raises else val_loader()
        torch.manual_seed(2)
        trainer = make_trainer(model, loader, max_epochs=1 if raises else 3, **options)
        if validate and raises:
            with pytest.raises(OSError, match="disk"):
                trainer.fit()
        else:
            trainer.fit()
        assert frozen.training
        state = [v.clone() for v in model.state_dict().values()]
        runs.append([*state, torch.get_rng_state()])
    assert same(runs[0], runs[1])


def test_validation_restores_each_submodules_mode() -> None:
    model = Restless()
    trainer = make_trainer(model, finite_batches(1), val_loader=finite_batches(1))
    model.train()
    model.norm.eval()
    trainer.validate()
    assert model.training
    assert not model.norm.training
    assert model.drop.training


def test_fit_trains_in_train_mode() -> None:
    model = Restless().eval()
    modes: list[bool] = []
    model.register_forward_hook(lambda m, i, o: modes.append(m.training))
    make_trainer(model, finite_batches(2)).fit()
    assert modes == [True, True]


def test_validate_needs_a_loader() -> None:
    with pytest.raises(ValueError, match="val_loader"):
        make_trainer(small_model(), finite_batches(1)).validate()


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
        loss_curriculum=LossWeightsCurriculum({"sign": LinearRamp(0.0, 1.0, epochs=2)}),
        val_loader=batches,
    ).fit()
    expected = [{"fit": 2.0, "sign": s} for s in (0.0, 0.5, 1.0)]
    assert [s[0] for s in seen[::2]] == expected
    assert [s[0] for s in seen[1::2]] == expected, "validation has the weights of its epoch"
    assert [s[1:3] for s in seen[::2]] == [(0, 0), (1, 1), (2, 2)]
    assert seen[0][3] is batches[0][0]
    assert seen[0][4] is batches[0][1]


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
    for option in ({"loss_weights": {"fit": 1.0}}, {"loss_curriculum": lambda epoch: {}}):
        with pytest.raises(ValueError, match="accepts no argument 'loss_weights'"):
            make_trainer(small_model(), finite_batches(1), fit_loss, **option)


def test_device_moves_the_model_and_the_batches() -> None:
    model = small_model()
    trainer = make_trainer(model, finite_batches(1), fit_loss, device="meta")
    assert {p.device.type for p in model.parameters()} == {"meta"}
    with pytest.raises(Exception, match=r"meta|Meta"):
        trainer.fit()
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="finds no CUDA device"):
            make_trainer(model, [], device="cuda")


def test_progress_shows_loss_and_coverage(capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer(small_model(), finite_batches(3), progress=True).fit()
    shown = capsys.readouterr().err
    assert "coverage=" in shown
    assert "loss=" in shown
    assert "3/3" in shown
    make_trainer(small_model(), finite_batches(3)).fit()
    assert capsys.readouterr().err == ""


def test_max_epochs_and_a_second_fit() -> None:
    trainer = make_trainer(small_model(), finite_batches(2), max_epochs=3)
    assert len(trainer.fit()) == 6
    with pytest.raises(RuntimeError, match=r"nothing to do: 3 epochs are done and max_epochs"):
        trainer.fit()
    trainer, _ = coverage_run([4], coverage_threshold=1.0)
    with pytest.raises(RuntimeError, match=r"1 epochs are done and coverage stopped it"):
        trainer.fit()


def test_loaders_that_cannot_train_are_named() -> None:
    with pytest.raises(ValueError, match="train_loader yielded nothing in epoch 0"):
        make_trainer(small_model(), []).fit()
    once = iter(finite_batches(2))
    with pytest.raises(ValueError, match="nothing in epoch 1; an iterator can be read only once"):
        make_trainer(small_model(), once, max_epochs=2).fit()
    with pytest.raises(TypeError, match="must yield pairs"):
        make_trainer(small_model(), [torch.rand(4, 2)]).fit()
    with pytest.raises(ValueError, match="at least one sample"):
        make_trainer(small_model(), [(torch.rand(0, 2), torch.rand(0))]).fit()


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


def test_outputs_and_losses_of_the_wrong_form_are_named(unchecked: None) -> None:
    class Text(ValueModel):
        def forward(self, x: Tensor) -> Any:
            return "text"

    with pytest.raises(TypeError, match="the model returned str"):
        make_trainer(Text(), finite_batches(1)).fit()

    def vector(outputs: Any, lifted: Any) -> Tensor:
        return outputs[0]

    with pytest.raises(TypeError, match="must return a scalar tensor, got \\(4,\\)"):
        make_trainer(small_model(), finite_batches(1), vector).fit()
    wide = [(x, y[:, None]) for x, y in finite_batches(1)]
    with pytest.raises(ValueError, match="broadcasting would pair"):
        make_trainer(small_model(), wide).fit()


def test_bottom_recall_is_nan_without_singular_targets() -> None:
    record = make_trainer(small_model(), finite_batches(1)).fit()[0]
    assert math.isnan(record["bottom_recall"])
