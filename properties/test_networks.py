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
from spec.accumulation import outcome, windows
from zeroproof.layers import ProjectiveMLP
from zeroproof.losses import SCMTrainingLoss, chordal_loss
from zeroproof.training import TensorBatches
from zeroproof.training.trainer import NonFiniteError, SCMTrainer, TrainingConfig

FEATURES = 3
Batch = tuple[Tensor, Tensor]
sizes = st.lists(st.integers(1, 6), min_size=1, max_size=7)
accumulations = st.integers(1, 4)
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
        for window in windows(range(len(sizes)), n)
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
    groups = windows(range(len(sizes)), n)
    for fault, window in zip(faults, groups, strict=True):
        if fault:
            loader[window[-1]][0][0, 0] = math.nan
    expected = outcome(faults, patience)
    options = {"gradient_accumulation_steps": n, "max_nonfinite_steps": patience, "max_epochs": 1}
    found, run, failed = trained(loader, seed, **options)
    assert failed == (expected[-patience:] == [False] * patience), (
        f"{faults} with patience {patience}"
    )
    applied = sum(expected)
    assert run.global_step == applied, f"applied updates of {faults}"
    assert run.skipped_steps == len(expected) - applied, f"skips of {faults}"
    kept = [
        loader[i]
        for was_applied, window in zip(expected, groups, strict=False)
        if was_applied
        for i in window
    ]
    if kept:
        reference, *_ = trained(kept, seed, **options)
        assert torch.equal(found, reference), f"parameters after {faults}"


def tensors(run: SCMTrainer) -> list[Tensor]:
    """Everything that an update changes."""
    state = run.state_dict()
    slots = state["optimizer"]["state"].values()
    return [*state["model"].values(), *(v for slot in slots for v in slot.values())]


@given(st.integers(1, 3), st.integers(1, 3), seeds, st.booleans())
@settings(max_examples=15)
def test_RES_1_resume_at_an_epochs_end(done: int, more: int, seed: int, on_device: bool) -> None:
    """A resumed run is bitwise the whole run, with dropout and running statistics, too."""
    HELD.add("RES-1")
    ((x, y),) = micro_batches([13], seed)

    def start(max_epochs: int, seed: int) -> SCMTrainer:
        torch.manual_seed(seed)
        network = ProjectiveMLP(FEATURES, hidden=(4,))
        model = nn.Sequential(nn.BatchNorm1d(FEATURES), nn.Dropout(0.2), network).double()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        loader: Any = DataLoader(TensorDataset(x, y), batch_size=5, shuffle=True)
        if on_device:
            loader = TensorBatches(x, y, batch_size=5)
        config = TrainingConfig(max_epochs=max_epochs, tau_train_min=0.0, tau_train_max=0.5, seed=3)
        return SCMTrainer(model, optimizer, SCMTrainingLoss(), loader, config=config)

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
    for ours, theirs in zip(tensors(rest), tensors(whole), strict=True):
        assert torch.equal(ours, theirs), f"resumed: {ours} is not {theirs}"
    assert rest.last_thresholds == whole.last_thresholds
