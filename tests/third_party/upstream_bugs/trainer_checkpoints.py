"""Findings about the checkpoints of trainers."""

import tempfile
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

from tests.third_party.upstream_bugs import of
from tests.third_party.upstream_bugs.models import Scale, batch, trainer_of


@of("0.4.3", "0.6.1")
def checkpoint_written_in_place() -> bool:
    with tempfile.TemporaryDirectory() as folder, patch("torch.save") as save:
        path = str(Path(folder) / "run.pt")
        trainer_of(Scale(), []).save_checkpoint(path)
        return save.call_args.args[1] == path  # a kill within leaves half a file


@of("0.4.3", "0.6.1")
def other_model_changes_weights() -> bool:
    one, other = nn.Linear(1, 1), nn.Linear(1, 1, bias=False)
    nn.init.constant_(one.weight, 1.0)
    nn.init.constant_(other.weight, 2.0)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "run.pt")
        trainer_of(other, []).save_checkpoint(path)
        try:
            trainer_of(one, []).load_checkpoint(path)
        except RuntimeError:
            return one.weight.item() == 2.0
    return False


@of("0.4.3", "0.6.1")
def keys_with_prefix() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "run.pt")
        trainer_of(nn.DataParallel(Scale()), []).save_checkpoint(path)
        return list(torch.load(path)["model"]) == ["module.w"]


@of("0.6.1")
def validations_not_resumed() -> bool:
    loader = [batch(1.0)]
    whole, first, second = (
        trainer_of(Scale(), loader, max_epochs=n, val_loader=loader) for n in (2, 1, 2)
    )
    whole.fit()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "run.pt")
        first.fit()
        first.save_checkpoint(path)
        second.load_checkpoint(path)
        second.fit()
    return (len(whole.val_history), len(second.val_history)) == (2, 1)
