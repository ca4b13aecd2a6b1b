"""What the tests of the command share: tables, and what runs leave."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zeroproof.command.run import Run


def write(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def read(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


GOOD = "a,y\n" + "".join(f"{i},{i * i}\n" for i in range(20))


def same_model(one: Path, other: Path) -> bool:
    """Whether two runs predict the same, bit for bit."""
    ours, theirs = (Run.read(folder).model for folder in (one, other))
    a, b = (model.network_.state_dict() for model in (ours, theirs))
    scales = [(m._centre, m._unit, m._x_centre, m._x_unit, m.tau_) for m in (ours, theirs)]
    return (
        all(a[name].shape == b[name].shape and torch.equal(a[name], b[name]) for name in a)
        and ours._certainty == theirs._certainty
        and all(map(np.array_equal, *scales))
    )
