"""``zeroproof predict``: a run's predictions for another table."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from zeroproof.command.run import Run
from zeroproof.command.table import UserError, read_table

COLUMNS = ("prediction", "bottom", "orientation", "denominator")


def predict(folder: Path, data: Path, out: Path) -> str:
    """Write the table's columns and the four of the prediction; return a summary.

    ``prediction`` is empty where ⊥; ``bottom`` is 0 or 1; ``orientation`` is that of the pole
    where ⊥, −1 or 1, and 0 elsewhere; ``denominator`` is the unit-gauge one that is compared with
    the run's ``tau_infer``.

    Raises:
        UserError: the run, the table or the output file do not allow it.
    """
    run, table = Run.read(folder), read_table(data)
    taken = [name for name in COLUMNS if name in table.header]
    if taken:
        raise UserError(f"{data}: column {taken[0]!r} is one that the output adds; rename it")
    predictions = run.predict(folder, table)
    rows = zip(
        table.rows,
        predictions.decoded.value.tolist(),
        predictions.decoded.bottom.tolist(),
        predictions.sign.tolist(),
        predictions.denominator.tolist(),
        strict=True,
    )
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*table.header, *COLUMNS])
            for cells, value, bottom, sign, denominator in rows:
                shown = "" if bottom else f"{value:.9g}"
                orientation = int(sign) if bottom and not math.isnan(sign) else 0
                writer.writerow([*cells, shown, int(bottom), orientation, f"{denominator:.9g}"])
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror})") from error
    count = int(predictions.decoded.bottom.sum())
    return f"{len(table.rows)} rows, {count} of them ⊥, written to {out}"
