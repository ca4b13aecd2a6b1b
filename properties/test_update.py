"""ACC and STEP: micro-batches that share an optimizer step, as the trainer makes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn

from properties.compare import assert_same
from spec import update
from zeroproof.losses import chordal_loss
from zeroproof.training.trainer import NonFiniteError, SCMTrainer, TrainingConfig

MicroBatch = tuple[Tensor, Tensor]
FEATURES = 3


class Pair(nn.Module):
    """A linear numerator over a linear denominator."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, 2, dtype=torch.float64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(P, Q)``."""
        P, Q = self.linear(x).unbind(-1)
        return P, Q


def fit_loss(outputs: tuple[Tensor, Tensor], lifted: tuple[Tensor, Tensor]) -> Tensor:
    """Return a mean over samples, for which ACC-1 promises equality with one large batch."""
    return chordal_loss(*outputs, *lifted)


def micro_batches(sizes: list[int], seed: int) -> list[MicroBatch]:
    """Return one micro-batch for each size, singular targets among them."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for size in sizes:
        x = torch.randn(size, FEATURES, dtype=torch.float64, generator=generator)
        y = torch.randn(size, dtype=torch.float64, generator=generator)
        kind = torch.randint(0, 6, (size,), generator=generator)
        y = y.masked_fill(kind == 0, math.inf).masked_fill(kind == 1, math.nan)
        made.append((x, y))
    return made


@dataclass(frozen=True)
class Trained:
    """What a run leaves behind."""

    parameters: Tensor
    trainer: SCMTrainer
    failed: bool


def trained(loader: list[MicroBatch], config: TrainingConfig, seed: int) -> Trained:
    """Train a fresh model, the same for equal seeds."""
    torch.manual_seed(seed)
    model = Pair()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = SCMTrainer(model, optimizer, fit_loss, loader, config=config)
    failed = False
    try:
        trainer.fit()
    except NonFiniteError:
        failed = True
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    return Trained(flat, trainer, failed)


sizes = st.lists(st.integers(1, 6), min_size=1, max_size=7)
accumulations = st.integers(1, 4)
seeds = st.integers(0, 2**31)


@given(sizes, accumulations, st.integers(1, 3), seeds)
@example([5, 1, 1, 3, 2], 4, 2, 0)
def test_ACC_1_equivalence(sizes: list[int], n: int, max_epochs: int, seed: int) -> None:
    """Accumulating over a window trains as one batch of all of its samples does."""
    loader = micro_batches(sizes, seed)
    joined = [
        (torch.cat([loader[i][0] for i in window]), torch.cat([loader[i][1] for i in window]))
        for window in update.windows(sizes, n)
    ]
    config = TrainingConfig(max_epochs=max_epochs, gradient_accumulation_steps=n)
    ours = trained(loader, config, seed).parameters
    reference = trained(joined, TrainingConfig(max_epochs=max_epochs), seed).parameters
    distance = (ours - reference).abs().max().item()
    assert distance <= 1e-12, f"sizes {sizes} in windows of {n} lie {distance:.3g} off"


@given(sizes, accumulations, seeds)
@example([5, 1, 1], 2, 0)
def test_ACC_1_gradient(sizes: list[int], n: int, seed: int) -> None:
    """The first window's step is −lr times Σ nᵢ∇Lᵢ / Σ nᵢ of its micro-batches, exactly summed."""
    window = update.windows(sizes, n)[0]
    loader = [micro_batches(sizes, seed)[i] for i in window]
    torch.manual_seed(seed)
    model = Pair()
    config = TrainingConfig(max_epochs=1, gradient_accumulation_steps=n)
    gradients = []
    for x, y in loader:
        single = trained([(x, y)], TrainingConfig(max_epochs=1), seed).parameters
        start = torch.cat([p.detach().flatten() for p in model.parameters()])
        gradients.append(((start - single) / 0.1).tolist())
    found = trained(loader, config, seed).parameters
    for index, value in enumerate(found.tolist()):
        column = [Fraction(gradient[index]) for gradient in gradients]
        step = update.window_gradient([sizes[i] for i in window], column) / 10
        expected = float(Fraction(start.tolist()[index]) - step)
        assert abs(value - expected) <= 1e-12, f"parameter {index}: {value}, not {expected}"


@given(sizes, accumulations, st.integers(1, 3), seeds)
@example([1, 1, 1], 2, 2, 0)
def test_ACC_2_updates(sizes: list[int], n: int, max_epochs: int, seed: int) -> None:
    """An epoch makes ⌈micro-batches / N⌉ updates, the short last window's included."""
    config = TrainingConfig(max_epochs=max_epochs, gradient_accumulation_steps=n)
    trainer = trained(micro_batches(sizes, seed), config, seed).trainer
    expected = max_epochs * update.updates_per_epoch(len(sizes), n)
    assert trainer.global_step == expected, f"{len(sizes)} micro-batches in windows of {n}"
    assert trainer.micro_step == max_epochs * len(sizes), "micro-batches are counted apart"


@given(st.lists(st.booleans(), min_size=1, max_size=8), accumulations, st.integers(1, 3), seeds)
@example([True, False, True, True], 2, 2, 0)
@example([False, True, True, False], 1, 3, 0)
def test_STEP_3_faults(faults: list[bool], n: int, patience: int, seed: int) -> None:
    """Windows with a fault are skipped and counted; so many in a row are an error."""
    sizes = [2] * (n * len(faults))
    loader = micro_batches(sizes, seed)
    groups = update.windows(sizes, n)
    for fault, window in zip(faults, groups, strict=True):
        if fault:
            loader[window[-1]][0][0, 0] = math.nan
    expected = update.outcome(faults, patience)
    config = TrainingConfig(
        max_epochs=1, gradient_accumulation_steps=n, max_nonfinite_steps=patience
    )
    run = trained(loader, config, seed)
    assert run.failed == (expected.error_at is not None), f"{faults} with patience {patience}"
    applied = sum(expected.applied)
    assert run.trainer.global_step == applied, f"applied updates of {faults}"
    assert run.trainer.skipped_steps == len(expected.applied) - applied, f"skips of {faults}"
    kept = [
        loader[i]
        for was_applied, window in zip(expected.applied, groups, strict=False)
        if was_applied
        for i in window
    ]
    if kept:
        reference = trained(kept, config, seed).parameters
        assert_same(run.parameters, reference, f"parameters after {faults}")


@given(st.lists(st.booleans(), min_size=1, max_size=6), seeds)
def test_STEP_2_scheduler(faults: list[bool], seed: int) -> None:
    """The scheduler advances once per applied update, never on a skipped one."""
    loader = micro_batches([2] * len(faults), seed)
    for fault, (x, _) in zip(faults, loader, strict=True):
        if fault:
            x[0, 0] = math.nan
    torch.manual_seed(seed)
    model = Pair()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    config = TrainingConfig(max_epochs=1)
    SCMTrainer(model, optimizer, fit_loss, loader, scheduler=scheduler, config=config).fit()
    applied = sum(update.outcome(faults, config.max_nonfinite_steps).applied)
    rate = optimizer.param_groups[0]["lr"]
    assert rate == 0.5**applied, f"{faults}: learning rate {rate} after {applied} updates"
