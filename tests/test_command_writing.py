"""What the command writes beside a table's own columns, and in which unit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the command needs scikit-learn")

from tests import command_helpers, table_helpers
from zeroproof.command.options import Options
from zeroproof.command.run import Predictions, Run, write_predictions


def written(
    path: Path, text: str, values: Sequence[float], *targets: str, log: bool = False
) -> list[dict[str, str]]:
    """Write predictions of these values for a table; return its rows."""
    names = [*targets] or ["y"]
    options = Options("", names, log_target=log)
    run = Run("", options, "", ".", [], (9, 9), [(0.0, 1.0)] * len(names), [0.5], None, [])
    value = np.tile(np.array(values)[:, None], len(names))
    found = Predictions(value, value - 1, value + 1, *np.zeros((2, *value.shape)))
    table = table_helpers.read(path, text)
    write_predictions(path / "out.csv", run, table, found, {"guess": value})
    return command_helpers.read(path / "out.csv")


def test_a_name_is_added_until_it_is_free(tmp_path: Path) -> None:
    text = "prediction,prediction_predicted,upper,a\n1,2,3,4\n5,6,7,8\n"
    rows = written(tmp_path, text, [0.25, 0.75])
    assert len(rows[0]) == 4 + 7
    assert [row["prediction"] for row in rows] == ["1", "5"]
    assert [row["prediction_predicted"] for row in rows] == ["2", "6"]
    assert [row["prediction_predicted_predicted"] for row in rows] == ["0.25", "0.75"]
    assert [row["upper_predicted"] for row in rows] == ["1.25", "1.75"]


def test_names_of_several_targets_are_free_too(tmp_path: Path) -> None:
    text = "a_upper,a\n1,2\n"
    (row,) = written(tmp_path, text, [0.5], "a", "a_upper")
    assert (row["a_upper"], row["a_upper_predicted"], row["a_upper_upper"]) == ("1", "1.5", "1.5")


@pytest.mark.parametrize("log", [False, True])
def test_what_is_beyond_the_limits_is_infinite_in_either_unit(tmp_path: Path, log: bool) -> None:
    rows = written(tmp_path, "a\n1\n2\n3\n4\n", [-np.inf, np.inf, np.nan, 2.0], log=log)
    for name in ("prediction", "guess"):
        number = "100" if log else "2"
        assert [row[name] for row in rows] == ["-inf", "inf", "", number]
    assert [row["bottom"] for row in rows] == ["1", "1", "1", "0"]
