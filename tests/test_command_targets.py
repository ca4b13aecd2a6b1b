"""The command reads targets: numbers, intervals and points at infinity."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.table_helpers import column, ends, read
from zeroproof.command.options import UserError
from zeroproof.command.table import targets

INF = np.inf


CELLS = {
    "5": (5, 5),
    "+.5": (0.5, 0.5),
    "−5.": (-5, -5),
    "- 5": (-5, -5),
    "–1e−3": (-0.001, -0.001),
    "1,234.5": (1234.5, 1234.5),
    "1,234,567.5": (1234567.5, 1234567.5),
    "1 234.5": (1234.5, 1234.5),
    "1\u202f234": (1234, 1234),
    "1\xa0234\u2009567": (1234567, 1234567),
    "1’234.5": (1234.5, 1234.5),
    "1'234": (1234, 1234),
    ">50": (50, INF),
    "> -1.5": (-1.5, INF),
    "≥ 50": (50, INF),
    ">=5e1": (50, INF),
    "⩾1,000": (1000, INF),
    "<0.05": (-INF, 0.05),
    "≤−1": (-INF, -1),
    "10-20": (10, 20),
    "10–20.5": (10, 20.5),
    "10 — 20": (10, 20),
    "-5 - -2": (-5, -2),
    "−5–−2": (-5, -2),
    "1e-3-2e-3": (0.001, 0.002),
    "1,000-2,000": (1000, 2000),
    "5-inf": (5, INF),
    "inf": (INF, INF),
    "+inf": (INF, INF),
    "-Infinity": (-INF, -INF),
    "∞": (INF, INF),
    "−∞": (-INF, -INF),
    "0.1": (0.1, 0.1),
    "123456.789": (123456.789, 123456.789),
}


def test_targets_are_numbers_intervals_and_points(tmp_path: Path) -> None:
    found = column(tmp_path, list(CELLS))
    assert dict(zip(CELLS, ends(found), strict=True)) == CELLS
    assert not found.missing.any()
    assert found.notes == ["15 targets are intervals, 5 are at infinity"]


def test_poles_and_missing_targets_are_nan(tmp_path: Path) -> None:
    blanks = ["", "NA", "n/a", "null", "None", "-", "—", "?", "#N/A"]
    found = column(tmp_path, ["1", "nan", "NaN", *blanks])
    assert found.missing.tolist() == [False] * 3 + [True] * len(blanks)
    assert np.isnan(found.lower[1:]).all()
    assert np.isnan(found.upper[1:]).all()
    assert found.notes == [
        "9 rows have no target, and are left out",
        "0 targets are intervals, 2 are at infinity",
    ]
    some = found.rows([0, 4])
    assert (some.missing.tolist(), some.lower[0, 0]) == ([False, True], 1.0)
    with pytest.raises(UserError, match="no row has a value of y"):
        column(tmp_path, ["", "NA"])


WRONG = [
    *("high", "5 %", "~5.5", "5 mM", "5g/cm3", "20-10", ">", ">=", ">5-6", "1_000", "0x1F", "1,23"),
    *("0,123", "1.2.3", "1/2", "1=2", "2020-01-02", "10²", "1 2", "5-", "--5", "True", "٣"),
    *("1,2345", "1'2345.5", ">inf", "<inf", "><5", "0.5.", "1-2-3", "-5-", "e5", "1 234 5"),
]


@pytest.mark.parametrize("cell", WRONG)
def test_a_target_that_is_none(tmp_path: Path, cell: str) -> None:
    remedy = (
        "write a number without ~, % or unit, or leave it blank; < and the limit of detection, "
        "2-5, >5, inf, -inf, and nan for a pole, may stand here too"
    )
    message = f"table.csv, line 4: column 'y' holds {re.escape(repr(cell))}; {remedy}"
    with pytest.raises(UserError, match=message):
        column(tmp_path, ["1.5", "2.5", cell, "3"])


LIMITS = {  # cells, and what an instrument that reports them can report
    "numbers": (["1", "2", "inf"], None),
    "one end": (["1", ">50", "≥50", "50", "49"], (-INF, 50)),
    "the other end": (["1", "<0.5", "2-3"], (0.5, INF)),
    "both": (["1", "<0.5", ">50"], (0.5, 50)),
    "rounded": (["0", "100", ">99.5"], (-INF, 99.5)),
    "several": (["1", ">50", ">60"], None),
    "numbers beyond": (["1", ">50", "60"], None),
    "one beyond in a hundred": ([*map(str, range(99)), "180", ">100"], (-INF, 100)),
    "crossed": ([">5", "<6"], None),
}


@pytest.mark.parametrize(("cells", "limits"), LIMITS.values(), ids=LIMITS)
def test_limits_are_where_cells_agree(
    tmp_path: Path, cells: list[str], limits: tuple[float, float] | None
) -> None:
    assert column(tmp_path, cells).limits == limits


def test_a_range_says_what_the_instrument_reports(tmp_path: Path) -> None:
    cells = ["1", "5", "50", "60", "inf", "-inf", ">70", "<60", "nan", "10-60", ""]
    found = column(tmp_path, cells, range=(5.0, 50.0))
    below, above = (-INF, 5.0), (50.0, INF)
    assert ends(found)[:8] == [below, below, above, above, above, below, above, (-INF, 60.0)]
    assert np.isnan(found.lower[8, 0])
    assert ends(found)[9] == (10.0, 60.0)
    assert found.limits == (5.0, 50.0)
    found = column(tmp_path, cells, range=(5.0, INF))
    assert ends(found)[3:6] == [(60.0, 60.0), (INF, INF), below]
    assert found.limits == (5.0, INF)


def test_logarithms(tmp_path: Path) -> None:
    found = column(tmp_path, ["100", ">1000", "<1", "0-10", "inf", "nan", ""], log=True)
    assert ends(found)[:5] == [(2, 2), (3, INF), (-INF, 0), (-INF, 1), (INF, INF)]
    assert np.isnan(found.lower[5:]).all()
    assert found.limits == (0.0, 3.0)
    assert column(tmp_path, ["0", "5"], log=True, range=(1.0, 100.0)).limits == (0.0, 2.0)
    for cell in ("0", "-1", "-inf", "<0", "-3 - -2"):
        with pytest.raises(UserError, match=f"line 3: column 'y' holds '{cell}'; it has no log"):
            column(tmp_path, ["1", cell], log=True)


def test_several_targets(tmp_path: Path) -> None:
    table = read(tmp_path, "a,y,z\n1,2,>3\n2,,1\n3,inf,2\n")
    assert targets(table, ["z", "y"], range=(0, 9)).limits == (0.0, 9.0)
    found = targets(table, ["z", "y"])
    assert found.lower[[0, 2]].tolist() == [[3, 2], [2, INF]]
    assert found.upper[[0, 2]].tolist() == [[INF, 2], [2, INF]]
    assert found.missing.tolist() == [False, True, False]
    assert np.isnan([found.lower[1], found.upper[1]]).all()
    assert found.limits is None
    assert targets(table, ["z"]).limits == (-INF, 3.0)
