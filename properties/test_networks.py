"""The trainer with a real network, loss, optimizer and loader, which no plan foretells."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from properties.assertions import HELD
from zeroproof.layers import ProjectiveMLP
from zeroproof.losses import SCMTrainingLoss
from zeroproof.training import TensorBatches
from zeroproof.training.trainer import SCMTrainer, TrainingConfig

FEATURES = 3
seeds = st.integers(0, 2**31)


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
    x = torch.randn(13, FEATURES, dtype=torch.float64)
    y = torch.cat([x[:-2, 0], x.new_tensor([math.inf, math.nan])])

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
