"""Tables that tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the command needs scikit-learn")

from zeroproof.command.table import Measured, Table, read_table, targets


def read(path: Path, text: str | bytes, decimal: str | None = None, *needed: str) -> Table:
    path = path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, needed, decimal)


def ends(measured: Measured) -> list[tuple[float, float]]:
    return list(zip(measured.lower[:, 0].tolist(), measured.upper[:, 0].tolist(), strict=True))


def column(path: Path, cells: list[str], **options: object) -> Measured:
    text = "a|y\n" + "".join(f"{i}|{cell}\n" for i, cell in enumerate(cells))
    return targets(read(path, text), ["y"], **options)  # type: ignore[arg-type]


def table_of(path: Path, columns: dict[str, list[str]]) -> Table:
    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    return read(path, "".join("|".join(row) + "\n" for row in rows))
