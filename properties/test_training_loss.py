"""LOSS-5 and LOSS-6: the rejection term and the composite."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from functools import partial

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import Tensor

from properties.compare import (
    assert_same,
    backward,
    exact,
    flags,
    floats,
    gradient_of,
    leaf,
    name_of,
    without_shape_checks,
)
from properties.problems import Problem, assert_close, assert_masked_out, problems
from properties.tensor_strategies import batch_shapes, masks, several, taus, wide_dtypes
from spec import coverage as counting
from spec import losses as exactly
from spec.bottom import FORMATS
from zeroproof.losses import (
    LossConfig,
    SCMTrainingLoss,
    chordal_loss,
    implicit_loss,
    margin_loss,
    rejection_loss,
    sign_consistency_loss,
)

goals = st.integers(0, 16).map(lambda sixteenths: sixteenths / 16)
Batch = tuple[Tensor, Tensor, Tensor]


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Draw finite tuples, samples first, and the mask of those with a finite target."""
    P, Q = draw(several(2, singular=False, dtypes=wide_dtypes, shapes=batch_shapes))
    return P, Q, draw(masks(P.shape))


def _by_sample(x: Tensor) -> list[list[bool]]:
    return [flags(sample) for sample in x]


def _counts(batch: Batch, tau: float) -> counting.Counts:
    P, Q, finite = batch
    pairs = zip(floats(P), floats(Q), strict=True)
    bottoms = torch.tensor([counting.tuple_is_bottom(p, q, tau) for p, q in pairs])
    return counting.count(_by_sample(bottoms.reshape(P.shape)), _by_sample(finite))


@given(batches(), taus(), goals)
@example((torch.ones(3), torch.tensor([0.0, 1.0, 1.0]), torch.ones(3).bool()), 1e-50, 1.0)
@example((torch.ones(3), torch.tensor([0.0, 1.0, 1.0]), torch.ones(3).bool()), 1e300, 1.0)
@example(
    (torch.zeros(2), torch.tensor([0.0, 16777220.0]), torch.ones(2).bool()), 16777219.0, 0.0625
)
def test_LOSS_5_value(batch: Batch, tau: float, goal: float) -> None:
    """max(0, target − coverage)² of the hard coverage over finite-target samples."""
    P, Q, finite = batch
    value = rejection_loss(P, Q, tau, target_coverage=goal, mask=finite)
    expected = exactly.rejection(_counts(batch, tau), Fraction(goal))
    slack = exactly.tolerance("rejection", FORMATS[name_of(P.dtype)].epsilon, [Fraction(1)])
    assert_close(value, expected, slack, f"rejection of {batch} at τ = {tau}, goal {goal}")


@given(batches(), st.sampled_from([1e-6, 0.1, 1.0]), goals)
@example((torch.ones(2), torch.tensor([0.0, -0.0]), torch.ones(2).bool()), 0.1, 1.0)
@example(
    (torch.ones(2, 2), torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.ones(2, 2).bool()), 0.1, 1.0
)
def test_LOSS_5_gradient(batch: Batch, tau: float, goal: float) -> None:
    """A step against the gradient raises |Q| of every ⊥ element that should not be, and only it."""
    P, Q, finite = batch
    sample_is_finite = finite.flatten(1).all(1) if finite.dim() > 1 else finite
    counts = _counts(batch, tau)
    lacking = exactly.rejection(counts, Fraction(goal)) > 0
    leaves = leaf(P), leaf(Q)
    loss = rejection_loss(*leaves, tau, target_coverage=goal, mask=finite)
    if loss.requires_grad:
        backward(loss)
    in_P, in_Q = (gradient_of(x) for x in leaves)
    assert not bool(in_P.any()), f"gradient in P of {batch}: {in_P!r}"
    wanted = sample_is_finite.reshape(-1, *[1] * (P.dim() - 1)).expand(P.shape)
    below = torch.tensor([abs(q) < Fraction(tau) for q in exact(Q)]).reshape(Q.shape)
    moved = below & wanted & lacking
    away = torch.where(torch.signbit(Q), -1.0, 1.0)
    assert bool((in_Q * away < 0)[moved].all()), f"{batch} at {tau}: ⊥ not pushed out, {in_Q!r}"
    assert not bool(in_Q[~moved].any()), f"{batch} at {tau}: gradient elsewhere, {in_Q!r}"


@given(problems(least=1), masks((5,)), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_LOSS_7_rejection(case: Problem, mask: Tensor, poison: float) -> None:
    """A masked NaN or ±∞ reaches neither the rejection's value nor its gradient."""

    def run(case: Problem, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return case.evaluate(
            lambda P, Q, Y_n, Y_d: rejection_loss(P, Q, 0.1, target_coverage=1.0, mask=mask)
        )

    assert_masked_out(run, case, mask[: len(case.rows)], poison)


@given(st.integers(2, 5), st.sampled_from(["column", "one", "longer"]))
def test_LOSS_5_shapes(size: int, how: str) -> None:
    """Shapes that do not match are a ValueError, those of the mask too."""
    wrong = {"column": (size, 1), "one": (1,), "longer": (size + 1,)}[how]
    Q, other = torch.ones(size), torch.ones(wrong)
    with without_shape_checks():
        with pytest.raises(ValueError, match="shape"):
            rejection_loss(other, Q, 0.1)
        with pytest.raises(ValueError, match="shape"):
            rejection_loss(Q, Q, 0.1, mask=other.bool())


weights = st.sampled_from([0.0, 0.01, 0.5, 1.0, 2.0])
configs = st.builds(
    LossConfig,
    fit=st.sampled_from(["chordal", "implicit"]),
    lambda_margin=weights,
    lambda_sign=weights,
    lambda_rej=weights,
    target_coverage=goals,
    tau_train=st.sampled_from([0.0, 1e-4, 0.5]),
)
TERMS = ("fit", "margin", "sign", "rejection")


def _terms(case: Problem, config: LossConfig, oriented: Tensor) -> dict[str, Tensor]:
    P, Q, Y_n, Y_d = case.tensors
    finite, tau, goal = Y_d != 0, config.tau_train, config.target_coverage
    implicit = implicit_loss(P, Q, Y_n, Y_d, gamma=config.gamma)
    return {
        "fit": implicit if config.fit == "implicit" else chordal_loss(P, Q, Y_n, Y_d),
        "margin": margin_loss(Q, tau, mask=finite),
        "sign": sign_consistency_loss(P, Q, Y_n, Y_d, oriented=oriented),
        "rejection": rejection_loss(P, Q, tau, target_coverage=goal, mask=finite),
    }


@given(
    problems(lifted=True), configs, st.dictionaries(st.sampled_from(TERMS), weights), masks((5,))
)
def test_LOSS_6_composite(
    case: Problem, config: LossConfig, given_weights: dict[str, float], unoriented: Tensor
) -> None:
    """The total is the weighted sum of the terms, which are returned; NaN targets orient none."""
    singular = case.Y_d == 0
    nan = unoriented[: len(case.rows)] & singular
    y = torch.where(singular, torch.where(nan, math.nan, case.Y_n * math.inf), case.Y_n)
    total, found = SCMTrainingLoss(config)(
        (case.P, case.Q), (case.Y_n, case.Y_d), targets=y, loss_weights=given_weights
    )
    terms = _terms(case, config, singular & ~nan)
    assert found.keys() == terms.keys(), f"terms are {sorted(found)}"
    for name, term in terms.items():
        assert_same(found[name], term, f"term {name} of {case} with {config}")
        assert not found[name].requires_grad, f"term {name} is only logged"
    reference = exactly.composite(
        {name: exact(term)[0] for name, term in terms.items()},
        {name: Fraction(weight) for name, weight in config.weights.items()},
        {name: Fraction(weight) for name, weight in given_weights.items()},
    )
    assume(reference <= case.form.largest / 2)
    slack = 4 * case.form.epsilon * reference + case.form.smallest_normal
    assert_close(total, reference, slack, f"total of {case} with {config} and {given_weights}")


@given(problems(lifted=True), configs, st.sampled_from([1e-4, 0.5, 2.0]))
def test_LOSS_6_tau(case: Problem, config: LossConfig, tau: float) -> None:
    """A tau given with the call is the one that counts, in margin and in rejection."""
    inputs = ((case.P, case.Q), (case.Y_n, case.Y_d))
    _, given_terms = SCMTrainingLoss(config)(*inputs, tau=tau)
    _, configured = SCMTrainingLoss(replace(config, tau_train=tau))(*inputs)
    for name in TERMS:
        assert_same(given_terms[name], configured[name], f"term {name} of {case} at τ = {tau}")


def _weighted_gradients(
    case: Problem, config: LossConfig
) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    def one(name: str, P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor) -> Tensor:
        term = _terms(Problem(P, Q, Y_n, Y_d), config, Y_d == 0)[name]
        return config.weights[name] * term + 0 * P.sum()

    return {name: case.evaluate(partial(one, name)) for name in TERMS}


def _gradient_slack(case: Problem, config: LossConfig, index: int, part: int) -> Fraction:
    kinds = {"fit": config.fit, "margin": "margin", "sign": "sign"}
    slack, row = Fraction(0), case.rows[index]
    for name, kind in kinds.items():
        guard = Fraction(config.gamma if kind == "implicit" else config.tau_train)
        size = exactly.gradient_scale(kind, *row, guard)[part]
        weight = Fraction(config.weights[name])
        slack += weight * exactly.gradient_tolerance(kind, case.form.epsilon, size, 1)
    return slack + exactly.underflow(*row[:2], case.form.smallest_normal, case.form.epsilon)


@given(problems(lifted=True), configs)
def test_LOSS_6_gradient(case: Problem, config: LossConfig) -> None:
    """The total's gradient is the sum of the terms' own, each by its weight."""
    terms = _weighted_gradients(case, config)
    total = case.evaluate(lambda P, Q, Y_n, Y_d: SCMTrainingLoss(config)((P, Q), (Y_n, Y_d))[0])
    for part in (0, 1):
        for index in range(len(case.rows)):
            columns = [gradients[1 + part][index] for gradients in terms.values()]
            found = [value for column in columns for value in floats(column)]
            if not all(math.isfinite(value) for value in found):
                continue
            parts = [Fraction(value) for value in found]
            size = sum(map(abs, parts), Fraction(0))
            if size < case.form.largest / 8:
                slack = _gradient_slack(case, config, index, part) + 8 * case.form.epsilon * size
                what = f"gradient {part} at element {index} of {case} with {config}"
                assert_close(total[1 + part][index], sum(parts, Fraction(0)), slack, what)


@given(st.text(max_size=6).filter(lambda name: name not in TERMS))
def test_LOSS_6_unknown_weight(name: str) -> None:
    """A weight for a term that does not exist is a ValueError."""
    one = torch.ones(2)
    with pytest.raises(ValueError, match="unknown"):
        SCMTrainingLoss()((one, one), (one, one), loss_weights={name: 1.0})
