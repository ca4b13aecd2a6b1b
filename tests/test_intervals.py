"""Interval targets: lifted, collated, trained on, resumed and counted."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tests.helpers import make_trainer, same, weights
from zeroproof.layers import ProjectiveMLP
from zeroproof.losses import LossConfig, SCMTrainingLoss, interval_loss
from zeroproof.training import Interval, TensorBatches, lift_targets, orientation

INF = math.inf
X = torch.linspace(-1, 1, 24)[:, None]
Y = 1 / (X[:, 0] - 0.3)
LOWER, UPPER = Y.clamp(-4, 4), torch.where(Y > 4, INF, Y)
LOWER[Y < -4], UPPER[Y < -4] = -INF, -4.0
CENSORED = Interval(LOWER, UPPER)  # exact in [−4, 4], and beyond only known to be so
LOSS = SCMTrainingLoss(LossConfig(fit="likelihood"))


class Rows(Dataset[Any]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Tensor, Interval]:
        return X[index], Interval(LOWER[index], UPPER[index])


def model() -> ProjectiveMLP:
    torch.manual_seed(0)
    return ProjectiveMLP(1, hidden=(8,))


def batches(**options: Any) -> TensorBatches:
    return TensorBatches(X, CENSORED, batch_size=8, **options)


def test_an_interval_lifts_to_its_lifted_ends() -> None:
    lower, upper = lift_targets(Interval(torch.tensor([-INF, 2.0]), torch.tensor([1.0, INF])))
    assert [x.tolist() for x in (*lower, *upper)] == [[-1, 2], [0, 1], [1, 1], [1, 0]]
    for low, high in ((1.0, 0.5), (math.nan, 1.0), (0.0, math.nan)):
        with pytest.raises(ValueError, match="1 of 1 intervals have a lower end above the upper"):
            lift_targets(Interval(torch.tensor([low]), torch.tensor([high])))


def test_a_data_loader_collates_intervals_as_tensors_that_lie_there() -> None:
    collated = list(DataLoader(Rows(), batch_size=8))
    for (x, ours), (inputs, theirs) in zip(collated, batches(shuffle=False), strict=True):
        assert isinstance(ours, Interval)
        assert torch.equal(x, inputs)
        assert torch.equal(ours.lower, theirs.lower)
        assert torch.equal(ours.upper, theirs.upper)


def test_the_composite_takes_intervals_for_its_likelihood() -> None:
    P, Q = torch.randn(2, 24)
    lower, upper = lift_targets(CENSORED)
    _, terms = LOSS((P, Q), (lower, upper), targets=CENSORED)
    assert terms["fit"] == interval_loss(P, Q, lower, upper, resolution=LOSS.config.resolution)
    assert terms["sign"] == 0, "an open interval has no orientation"
    with pytest.raises(ValueError, match="'chordal' takes exact targets; intervals need"):
        SCMTrainingLoss()((P, Q), (lower, upper))


def test_intervals_of_no_width_are_exact_targets() -> None:
    P, Q = torch.randn(2, 24)
    y = Y.clone()
    y[:4], y[4:6] = INF, -INF
    exact, exact_terms = LOSS((P, Q), lift_targets(y), targets=y)
    found, terms = LOSS((P, Q), lift_targets(Interval(y, y)), targets=Interval(y, y))
    assert found == exact
    torch.testing.assert_close(terms, exact_terms)  # the sign, of weight 0, is measured otherwise


def test_half_open_intervals_are_neither_finite_nor_singular() -> None:
    ends = Interval(torch.tensor([-1.0, 1.0, 2.0, INF]), torch.tensor([0.0, INF, 2.0, INF]))
    P, Q = torch.tensor([0.5, 1.0, 1.0, 1.0]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    fixed = torch.nn.Linear(1, 2)
    fixed.forward = lambda x: (P + 0 * fixed.weight.sum(), Q)  # type: ignore[method-assign]
    trainer = make_trainer(fixed, [(X[:4], ends)], loss_fn=LOSS)
    (record,) = trainer.fit()
    assert (record["coverage"], record["coverage_finite"]) == (0.25, 0.5)
    assert record["bottom_recall"] == 1.0


def test_training_on_intervals_resumes_inside_an_epoch() -> None:
    def run(**options: Any) -> Any:
        return make_trainer(model(), batches(), loss_fn=LOSS, **options)

    whole = run(max_epochs=4, val_loader=batches(shuffle=False))
    whole.fit()
    assert whole.records.records[-1]["loss"] < whole.records.records[0]["loss"]
    states: list[Any] = []
    first = run(
        max_epochs=4,
        log_hook=lambda r: (
            r["micro_step"] == 4 and states.append(copy.deepcopy(first.state_dict()))
        ),
    )
    first.fit()
    rest = run(max_epochs=4)
    rest.load_state_dict(states[0])
    rest.fit()
    assert same(weights(rest.model), weights(whole.model))


def test_an_interval_that_holds_nothing_is_refused_before_it_is_trained_on() -> None:
    wrong = Interval(torch.ones(24), torch.zeros(24))
    with pytest.raises(ValueError, match="24 of 24 intervals"):
        TensorBatches(X, wrong, batch_size=8)
    with pytest.raises(ValueError, match="24 of 24 intervals"):
        make_trainer(model(), [(X, wrong)], loss_fn=LOSS).fit()


@pytest.mark.usefixtures("unchecked")
def test_the_orientation_does_not_ask_for_the_interval_that_it_refuses() -> None:
    with pytest.raises(TypeError, match=r"is; or, to lift, an Interval, got Interval of"):
        orientation(CENSORED)  # type: ignore[arg-type]
