"""What a run tells people: what it is good for, and by which numbers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zeroproof.command import page, scores
from zeroproof.command.run import Predictions, Run
from zeroproof.command.scores import Rivals, Score, shown
from zeroproof.command.table import Measured, Table

FEW, WORST, BARS = 20, 10, 15  # rows; rows; columns
EXPLAINED = (
    "In brackets: 95 % intervals. In the first line an answer that is no number counts as the "
    "limit that it lies beyond, or as the median of the rows trained on. Gradient boosting is "
    "scikit-learn's with its defaults: a classifier of what is no number, and a regressor."
)
TO_TRY = (
    "To try: more rows, or other columns; --range LOW:HIGH, if the instrument has such limits; "
    "--log-target, if the target spans decades; --group COLUMN, if several rows are of one sample"
)


def verdict(score: Score, *doubts: str) -> tuple[str, str]:
    """Say what a model is good for, or what does better; then by which numbers, and what to try."""
    ratio, target, best = score.ratio, score.target, score.table.columns[score.best]
    mine, theirs = (score.table.iloc[0, column] for column in (1, score.best))
    if not mine.rows:
        return f"Nothing to judge {target} by", "No row held out has a measured value."
    good, worse = ratio.value < 1 / 1.1, ratio.value > 1.1
    head = f"About as good as {best} for {target}"
    if worse:
        head = f"{best.capitalize()} does better than this model for {target}"
    elif good:
        head = f"Good for predicting {target}"
    elif best == scores.WORDS["guess"]:
        head = f"No better than guessing the median of {target}"
    if mine.rows < FEW:
        head = f"Too few rows to tell ({mine.rows} measured values). On these: {head}"
    elif (good or worse) and ratio.low < 1 < ratio.high:
        head += ", though these rows leave doubt"
    mistakes = dict(score.table.iloc[2:, :2].to_numpy())
    bounds = sum(rate.rows for words, rate in mistakes.items() if "contradicted" in words)
    said = [
        f"Its mean absolute error is {shown(mine.value)}, {shown(ratio.value)} times that of "
        f"{best} ({shown(theirs.value)}); 95 % interval of the ratio: {shown(ratio.low)} to "
        f"{shown(ratio.high)}. Judged by {mine.rows} measured values held out"
        + (f", not by {bounds} labels that are only bounds." if bounds else ".")
    ]
    said += doubts
    for words, rate in mistakes.items():
        if rate.low > (0.05 if words == scores.SILENT else 0.13):
            said.append(f"But it {words}: {rate}.")
    return head, " ".join([*said, f"{TO_TRY}."] if len(said) > 1 or not good else said)


def _predicted(
    run: Run, judged: Sequence[Score], measured: Measured, found: Predictions
) -> page.Sections:
    """Return a picture of predicted against measured for each target."""
    drawn = partial(page.points, measured, found, run.limits or (-np.inf, np.inf))
    targets = enumerate(score.target for score in judged)
    return {f"Predicted and measured: {name}": [partial(drawn, i, name)] for i, name in targets}


def _details(
    run: Run, X: Any, table: Table, measured: Measured, found: Predictions, judged: Sequence[Score]
) -> page.Sections:
    """Return for each target whether what was stated came true, what matters, the worst rows."""
    sections, matters = page.Sections(), scores.importance(run, X, measured)
    for i, (score, points) in enumerate(
        zip(judged, scores.stated(run, X, measured, found), strict=True)
    ):
        if points:
            rows = [(what, f"{100 * p:.3g} %", rate) for what, p, rate in points]
            sections[f"Stated, and came true: {score.target}"] = [
                partial(page.shares, points),
                "The share that came true should be the probability that was stated.",
                pd.DataFrame(rows, columns=["what", "stated", "came true"]),
            ]
        if matters:
            rises = [(name, f"{shown(by)} ± {shown(dev)}") for name, by, dev in matters[i]]
            sections[f"What matters for {score.target}"] = [
                partial(page.bars, matters[i][:BARS]),
                "By how much the mean absolute error rises when a column is shuffled.",
                pd.DataFrame(rises, columns=["column", "rise"]),
            ]
        sections[f"Rows that went worst: {score.target}"] = [_worst(run, table, measured, found, i)]
    return sections


def _worst(run: Run, table: Table, measured: Measured, found: Predictions, i: int) -> Any:
    """Return the rows of target i predicted worst, and what names them, in the table's unit."""
    distance = np.nan_to_num(scores.missed(run, measured, found.value)[:, i], posinf=0.0)
    left_out = [column.name for column in run.columns if column.role in ("ignored", "group")]
    cells = table.cells[[name for name in left_out if name in table.cells]]
    names = [*cells.columns[cells.nunique() > 1][:3], run.options.target[i]]
    parts = [run.in_own_unit(p[:, i]) for p in (found.value, found.lower, found.upper)]
    rows = []
    for row in np.argsort(-distance, kind="stable")[:WORST]:
        value, low, high = (shown(part[row]) for part in parts)
        named = [str(table.cells.index[row]), *table.cells[names].iloc[row]]
        rows.append([*named, value, f"{low} to {high}"])
    return pd.DataFrame(rows, columns=["line", *names, "predicted", "90 % interval"])


def _about(run: Run) -> page.Sections:
    """Return how columns are used, and what was trained."""
    options = {k: v for k, v in vars(run.options).items() if v not in (None, False, [])}
    facts = (
        f"{run.rows[0]} rows were trained on and {run.rows[1]} held out, in "
        f"{len(run.history['loss'])} epochs, by zeroproof {run.version}. "
        f"Epoch {run.best_epoch} was the best and is kept; it was judged by rows that each network "
        "left out, not by those held out."
    )
    return {
        "Columns": [*run.notes, pd.DataFrame(run.columns)],
        "What was trained": [facts, ", ".join(f"{k}={v}" for k, v in options.items())],
    }


def write_report(
    folder: Path,
    run: Run,
    X: Any,
    table: Table,
    measured: Measured,
    found: Predictions,
    rivals: Rivals,
    repeats: int,
) -> str:
    """Write ``report.md``, ``report.html`` and ``plot.png``; return a summary for the terminal.

    All are about the rows held out, of which none lacks a target, and in the learned unit; ``X``
    are their features, of which rows trained on have ``repeats``.
    """
    judged = scores.scores(run, measured, found, rivals)
    sections: page.Sections = {
        "Beside rivals": [*(score.table for score in judged), EXPLAINED],
        **_predicted(run, judged, measured, found),
        "Training": [partial(page.curves, run.history, run.best_epoch)],
        **_details(run, X, table, measured, found, judged),
        **_about(run),
    }
    doubts = (
        f"But {repeats} of these {len(X)} rows have the features of rows trained on, and say "
        "little of others; --group COLUMN holds repeats out together."
    )
    said = [verdict(score, *[doubts] * bool(repeats)) for score in judged]
    title = f"{', '.join(run.options.target)}, learned from {Path(run.options.data).name}"
    again = ["zeroproof", "train", "--config", str(folder / "config.json"), "--out", "AGAIN"]
    failed = page.write(folder, title, said, sections, shlex.join(again))
    lines = [f"{head}. {rest}" for head, rest in said] + [*map(str, judged)]
    return "\n".join([*lines, f"The report is {folder / 'report.html'}", *failed])


def check(run: Run, measured: Measured, found: Predictions, picture: Path) -> str:
    """Score predictions of rows whose target is known, and draw them; return a summary."""
    known = ~measured.missing
    measured, found = measured.rows(known), Predictions(*(p[known] for p in vars(found).values()))
    judged = scores.scores(run, measured, found, {"guess": np.tile(run.medians, (known.sum(), 1))})
    _, failed = page.draw(_predicted(run, judged, measured, found), picture)
    return "\n".join([*map(str, judged), *failed.values()])
