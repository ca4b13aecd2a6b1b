"""What the tests of the command share: tables, and what runs leave."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from zeroproof.command import train
from zeroproof.command.run import Options, Run
from zeroproof.command.table import read_table
from zeroproof.training.checkpoint import read_checkpoint


def write(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


GOOD = "a,y\n" + "".join(f"{i},{i * i}\n" for i in range(20))


def model_of(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(folder / "checkpoint.pt")["model"]
    return state


def same_model(a: Path, b: Path) -> bool:
    ours, theirs = model_of(a), model_of(b)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def described(data: Path, **options: Any) -> tuple[Run, tuple[torch.Tensor, torch.Tensor]]:
    chosen: dict[str, Any] = {"epochs": 2, "batch_size": 50, "lr": 0.5, "seed": 3, "device": "cpu"}
    chosen |= {"data": str(data), "target": "y", "amp": "off", "head": "free"} | options
    table = read_table(data)
    y = table.numbers("y", finite=False)
    run = train.describe(Options(**chosen), table, y, torch.arange(len(y)))
    return run, (run.scale.features(table.matrix(run.features)), run.scale.targets(y))
