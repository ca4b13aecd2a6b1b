"""The trainer with real networks, losses, optimizers and loaders, which no plan foretells."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from properties.assertions import HELD
from properties.compare import assert_same
from spec.accumulation import outcome, windows
from zeroproof.layers import ProjectiveMLP
from zeroproof.losses import SCMTrainingLoss, chordal_loss
from zeroproof.training.trainer import NonFiniteError, SCMTrainer, TrainingConfig

FEATURES = 3
Batch = tuple[Tensor, Tensor]
sizes = st.lists(st.integers(1, 6), min_size=1, max_size=7)
accumulations = st.integers(1, 4)
taus = st.tuples(st.floats(0.0, 0.5), st.floats(0.5, 1.0))
seeds = st.integers(0, 2**31)


def fit_loss(outputs: tuple[Tensor, Tensor], lifted: tuple[Tensor, Tensor]) -> Tensor:
    """Return a mean over samples, for which ACC-1 promises equality with one large batch."""
    return chordal_loss(*outputs, *lifted)


def micro_batches(sizes: list[int], seed: int) -> list[Batch]:
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


def trained(loader: list[Batch], seed: int, **options: Any) -> tuple[Tensor, SCMTrainer, bool]:
    """Train a fresh model, the same for equal seeds; return parameters, trainer and failure."""
    torch.manual_seed(seed)
    model = ProjectiveMLP(FEATURES, hidden=(), head="free").double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = SCMTrainer(model, optimizer, fit_loss, loader, config=TrainingConfig(**options))
    failed = False
    try:
        trainer.fit()
    except NonFiniteError:
        failed = True
    return torch.cat([p.detach().flatten() for p in model.parameters()]), trainer, failed


@given(sizes, accumulations, st.integers(1, 3), seeds)
@example([5, 1, 1, 3, 2], 4, 2, 0)
def test_ACC_1_equivalence(sizes: list[int], n: int, max_epochs: int, seed: int) -> None:
    HELD.add("ACC-1")
    loader = micro_batches(sizes, seed)
    joined = [
        (torch.cat([loader[i][0] for i in window]), torch.cat([loader[i][1] for i in window]))
        for window in windows(sizes, n)
    ]
    ours, *_ = trained(loader, seed, max_epochs=max_epochs, gradient_accumulation_steps=n)
    reference, *_ = trained(joined, seed, max_epochs=max_epochs)
    distance = (ours - reference).abs().max().item()
    assert distance <= 1e-12, f"sizes {sizes} in windows of {n} lie {distance:.3g} off"


@given(st.lists(st.booleans(), min_size=1, max_size=8), accumulations, st.integers(1, 3), seeds)
@example([True, False, True, True], 2, 2, 0)
@example([False, True, True, False], 1, 3, 0)
def test_STEP_3_faults(faults: list[bool], n: int, patience: int, seed: int) -> None:
    HELD.add("STEP-3")
    sizes = [2] * (n * len(faults))
    loader = micro_batches(sizes, seed)
    groups = windows(sizes, n)
    for fault, window in zip(faults, groups, strict=True):
        if fault:
            loader[window[-1]][0][0, 0] = math.nan
    expected = outcome(faults, patience)
    options = {"gradient_accumulation_steps": n, "max_nonfinite_steps": patience, "max_epochs": 1}
    found, run, failed = trained(loader, seed, **options)
    assert failed == (expected.error_at is not None), f"{faults} with patience {patience}"
    applied = sum(expected.applied)
    assert run.global_step == applied, f"applied updates of {faults}"
    assert run.skipped_steps == len(expected.applied) - applied, f"skips of {faults}"
    kept = [
        loader[i]
        for was_applied, window in zip(expected.applied, groups, strict=False)
        if was_applied
        for i in window
    ]
    if kept:
        reference, *_ = trained(kept, seed, **options)
        assert_same(found, reference, f"parameters after {faults}")


def batches(sizes: list[int]) -> list[Batch]:
    """Batches of the given sizes, with finite targets and singular ones."""
    data = [(torch.randn(n, 2), torch.randn(n)) for n in sizes]
    return [(x, torch.where(y > 1, torch.inf, y)) for x, y in data]


def model(seed: int = 0) -> nn.Module:
    """A model with dropout and running statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.BatchNorm1d(2, track_running_stats=True),
            nn.Dropout(0.2),
            ProjectiveMLP(2, hidden=(4,)),
        )


def trainer(network: nn.Module, loader: Any, loss: Any = None, **options: Any) -> SCMTrainer:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    config = TrainingConfig(**options)
    return SCMTrainer(network, optimizer, loss or SCMTrainingLoss(), loader, config=config)


def tensors(run: SCMTrainer) -> list[Tensor]:
    """Everything that an update changes."""
    state = run.state_dict()
    slots = state["optimizer"]["state"].values()
    return [*state["model"].values(), *(v for slot in slots for v in slot.values())]


def assert_bitwise(ours: list[Tensor], theirs: list[Tensor], what: str) -> None:
    assert len(ours) == len(theirs), what
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b), f"{what}: {a} is not {b}"


@given(st.integers(1, 3), st.integers(1, 3), seeds)
@settings(max_examples=15)
def test_RES_1_resume_at_an_epochs_end(done: int, more: int, seed: int) -> None:
    """Stop after an epoch, save, load into a new trainer, go on: bitwise the whole run."""
    HELD.add("RES-1")
    x, y = batches([13])[0]

    def start(max_epochs: int, seed: int) -> SCMTrainer:
        torch.manual_seed(seed)
        loader: DataLoader[Any] = DataLoader(TensorDataset(x, y), batch_size=5, shuffle=True)
        options = {"tau_train_min": 0.0, "tau_train_max": 0.5, "seed": 3}
        return trainer(model(seed), loader, max_epochs=max_epochs, **options)

    whole = start(done + more, seed)
    records = whole.fit()
    half = start(done, seed)
    half.fit()
    with tempfile.TemporaryDirectory() as folder:
        half.save_checkpoint(Path(folder) / "run.pt")
        rest = start(done + more, seed + 1)
        rest.load_checkpoint(Path(folder) / "run.pt")
    later = rest.fit()
    assert repr(later) == repr(records[-len(later) :]), "the records go on as they would have"
    assert len(later) == 3 * more
    assert_bitwise(tensors(rest), tensors(whole), "resumed")
    assert rest.last_thresholds == whole.last_thresholds
