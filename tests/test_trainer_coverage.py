"""Coverage, the early stop, and thresholds."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers import (
    ValueModel,
    coverage_run,
    finite_batches,
    fit_loss,
    make_trainer,
    same,
    small_model,
    square,
    weights,
)
from zeroproof.losses import SCMTrainingLoss
from zeroproof.scm import SCMTensor
from zeroproof.training.records import COUNTS, MEASURES, EpochTotals, measure, merge


@pytest.mark.parametrize("form", ["nan", "mask"])
def test_nine_good_batches_and_a_bad_last_one_do_not_stop_a_run(form: str) -> None:
    trainer, records = coverage_run([0] * 9 + [4], form, coverage_threshold=0.9)
    assert len(records) == 40
    assert not trainer.stopped
    trainer, records = coverage_run([0] + [4] * 9, form, coverage_threshold=0.9)
    assert len(records) == 10
    assert trainer.stopped


def measured(P: Tensor, Q: Tensor, Y_d: Tensor, tau: float | Tensor) -> dict[str, float]:
    return dict(zip(MEASURES, measure((P, Q), Y_d != 0, Y_d == 0, tau).tolist(), strict=True))


def test_a_micro_batch_measured_by_hand() -> None:
    nan, inf = math.nan, math.inf
    P = torch.tensor([1.0, 1.0, 1.0, 1.0, nan, 1.0])
    Q = torch.tensor([-0.5, 0.25, 0.01, 0.0, inf, nan])
    Y_d = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    values = measured(P, Q, Y_d, 0.1)
    assert values == {
        "samples": 6,
        "bottom_frac": 4 / 6,
        "covered": 2,
        "finite": 4,
        "covered_finite": 1,
        "singular": 2,
        "covered_singular": 1,
        "known": 4,
        "denom_sum": pytest.approx(0.76),
        "denom_abs_min": 0.0,
    }
    found = merge([values])
    assert found["bottom_frac"] == 4 / 6
    assert found["denom_abs_mean"] == pytest.approx(0.76 / 4)
    assert found["denom_abs_min"] == 0.0


def test_parts_of_a_micro_batch_merge_to_the_whole() -> None:
    generator = torch.Generator().manual_seed(1)
    P, Q = torch.randn(2, 7, 2, generator=generator)
    Q[3], Y_d = torch.nan, (torch.rand(7, 2, generator=generator) > 0.3).float()
    rows = []
    for part in (slice(0, 7), slice(0, 3), slice(3, 4), slice(4, 7)):
        row = measured(P[part], Q[part], Y_d[part], 0.2)
        assert row["samples"] == part.stop - part.start
        rows.append(row | {"loss": float(part.start)})
    assert math.isnan(merge(rows[2:3])["denom_abs_mean"])
    assert math.isnan(merge(rows[2:3])["denom_abs_min"])
    whole = merge(rows[:1]) | {"loss": (0 * 3 + 3 * 1 + 4 * 3) / 7}
    assert merge(rows[1:]) == pytest.approx(whole)


def test_a_threshold_may_be_a_tensor_and_equality_reaches_it() -> None:
    P, Q = torch.ones(3), torch.tensor([-0.1, 0.1, 0.0999])
    for tau in (Q[1], Q[1].item(), Q[1].double()):
        assert measured(P, Q, P, tau)["covered"] == 2


def test_a_value_has_no_denominator_that_a_threshold_meets() -> None:
    row = measure(torch.tensor([1e-9, -3.0, 2.0]), torch.ones(3) > 0, torch.ones(3) < 0, 5.0)
    values = dict(zip(MEASURES, row.tolist(), strict=True))
    assert (values["covered"], values["bottom_frac"], values["denom_abs_min"]) == (3, 0, 1.0)


def test_outputs_without_elements_are_measured() -> None:
    P = torch.ones(2, 0)
    assert measured(P, P, P, 0.1)["denom_abs_min"] == math.inf
    found = merge([measured(P, P, P, 0.1)])
    assert all(math.isnan(found[n]) for n in ("bottom_frac", "denom_abs_mean", "denom_abs_min"))


def test_a_sample_is_finite_if_all_of_its_targets_are() -> None:
    P, Y_d = torch.ones(2, 3), torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    assert measured(P, P, Y_d, 0.5)["finite"] == 1.0


def test_an_epochs_least_denominator_passes_over_batches_without_one() -> None:
    counts = dict.fromkeys(COUNTS, 1.0)
    totals, empty = EpochTotals(), EpochTotals()
    for least in (math.nan, 0.5, 0.25, math.nan):
        totals.add({"samples": 1.0, "denom_abs_min": least, **counts})
    assert totals.record()["denom_abs_min"] == 0.25
    empty.add({"samples": 1.0, "denom_abs_min": math.nan, **counts})
    assert math.isnan(empty.record()["denom_abs_min"])
    assert EpochTotals().monitored_coverage is None
    with pytest.raises(ValueError, match="an epoch without samples"):
        EpochTotals().record()


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
            finite_batches(150, 1),
            tau_train_min=0.2,
            tau_train_max=0.6,
            seed=seed,
            max_epochs=2,
        )
        torch.set_rng_state(state)
        records = trainer.fit()
        assert torch.equal(torch.get_rng_state(), state)
        assert [r["tau_train"] for r in records[150:]] == trainer.last_thresholds
        runs.append([r["tau_train"] for r in records])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert runs[0][:150] != runs[0][150:]
    draws = torch.tensor(runs[0])
    assert draws.min() >= 0.2
    assert draws.max() <= 0.6
    counts = torch.histc(draws, bins=4, min=0.2, max=0.6)
    assert (counts - 75).abs().max() < 30, counts  # four standard deviations


def test_seeds_and_epochs_have_thresholds_of_their_own() -> None:
    def drawn(seed: int) -> list[float]:
        options = {"seed": seed, "tau_train_max": 1.0, "max_epochs": 4}
        records = make_trainer(small_model(), finite_batches(1), **options).fit()
        return [record["tau_train"] for record in records]

    taus = [tau for seed in (0, 1, 2, 7) for tau in drawn(seed)]
    assert len(set(taus)) == 16
    assert len(set(drawn(2**80 + 5))) == 4, "no seed is too large"


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


def test_bottom_recall_is_nan_without_singular_targets() -> None:
    record = make_trainer(small_model(), finite_batches(1)).fit()[0]
    assert math.isnan(record["bottom_recall"])


def test_a_loss_in_half_precision_leaves_the_counts_exact() -> None:
    def loss(outputs: Any, lifted: Any) -> Tensor:
        return square(outputs, lifted).bfloat16()

    model = ValueModel()
    model.bottoms = [1]
    batches = finite_batches(1, 1001)
    record = make_trainer(model, batches, loss, coverage_threshold=0.999).fit()[0]
    assert record["coverage"] == 1000 / 1001
