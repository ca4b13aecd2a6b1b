"""Which rows the command holds out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the command needs scikit-learn")

from zeroproof.command.options import Options
from zeroproof.command.train import prepare


def held_out(path: Path, groups: list[str], seed: int) -> int:
    """Return how many rows of a table with such groups are held out."""
    table = path / "table.csv"
    random = np.random.default_rng(0)
    rows = (
        f"{x:.3f},{group},{2 * x:.3f}\n"
        for x, group in zip(random.normal(size=200), groups, strict=True)
    )
    table.write_text("x,g,y\n" + "".join(rows))
    return prepare(Options(str(table), ["y"], group="g", seed=seed))[0].rows[1]


@pytest.mark.parametrize("large", [0.5, 0.7])
def test_a_large_group_is_not_held_out(tmp_path: Path, large: float) -> None:
    random = np.random.default_rng(0)
    others = random.choice([*"abcdefgh"], 200)
    groups = np.where(random.random(200) < large, "control", others).tolist()
    for seed in range(8):
        held = held_out(tmp_path, groups, seed)
        assert 0 < held <= 60, "the fold nearest to a fifth, 40 rows"


def test_of_folds_of_one_size_the_first_is_held_out(tmp_path: Path) -> None:
    groups = [str(row % 50) for row in range(200)]
    assert [held_out(tmp_path, groups, seed) for seed in range(4)] == [40] * 4
