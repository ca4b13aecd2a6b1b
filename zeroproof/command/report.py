"""What a run tells people: what it is good for, and by which numbers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zeroproof.command import page
from zeroproof.command.run import Predictions, Run
from zeroproof.command.scores import (
    Rate,
    Rival,
    Score,
    calibration,
    guess,
    guess_error,
    importance,
    missed,
    scores,
    shown,
)
from zeroproof.command.table import Measured, Table, features

FILES = "report.html", "report.md", "plot.png", "predictions.csv"
FEW, WORST, BARS = 20, 10, 15  # rows; rows; columns
WORDS = {"model": "this model", "boosting": "gradient boosting", "guess": "guessing the median"}
EXPLAINED = (
    "In brackets: 95 % intervals, of errors by resampling rows, of counts exact. In the first line "
    "an answer that is no number counts as the limit that it lies beyond, or as the median of the "
    "rows trained on. Gradient boosting is scikit-learn's with its defaults: a classifier of what "
    "is no number, and a regressor."
)


def verdict(score: Score, run: Run, measured: Measured) -> tuple[str, str]:
    """Say what a model is good for, or what does better; then by which numbers, and what to try."""
    best, ratio, target = WORDS[score.best], score.ratio, score.target
    if not score.measured:
        return f"Nothing to judge {target} by", "No row held out has a measured value."
    good, worse = ratio.value < 1 / 1.1, ratio.value > 1.1
    head = f"About as good as {best} for {target}"
    if worse:
        head = f"{best.capitalize()} does better than this model for {target}"
    elif good:
        head = f"Good for predicting {target}"
    elif score.best == "guess":
        head = f"No better than guessing the median of {target}"
    if score.measured < FEW:
        head = f"Too few rows to tell ({score.measured} measured values). On these: {head}"
    elif (good or worse) and ratio.low < 1 < ratio.high:
        head += ", though these rows leave doubt"
    bounds = sum(by["model"].of for words, by in score.rates.items() if "contradicted" in words)
    mine, theirs = (shown(score.errors[name].value) for name in ("model", score.best))
    said = [
        f"Its mean absolute error is {mine}, {shown(ratio.value)} times that of {best} ({theirs}); "
        f"95 % interval of the ratio: {shown(ratio.low)} to {shown(ratio.high)}. Judged by "
        f"{score.measured} measured values that training did not see"
        + (f", not by {bounds} labels that are only bounds." if bounds else ".")
    ]
    harms = []
    for words, rates in score.rates.items():
        if rates["model"].interval[0] > (0.05 if words.startswith("said 'no number'") else 0.15):
            harms.append(f"But it {words}: {rates['model']}.")
    low, high = score.held.interval
    if high < 0.87:
        harms.append(f"But its 90 % intervals are too narrow: they hold {score.held}.")
    if low > 0.93:
        said.append(f"Its 90 % intervals are wider than they need be: they hold {score.held}.")
    if harms or not good:
        said += [*harms, f"To try: {'; '.join(_advice(score, run, measured))}."]
    return head, " ".join(said)


def _advice(score: Score, run: Run, measured: Measured) -> list[str]:
    options, low, high = run.options, measured.lower, measured.upper
    values = low[np.isfinite(low)]
    decades = len(values) > 0 and values.min() > 0 and values.max() > 100 * values.min()
    boosted = score.best == "boosting" and score.ratio.value > 1.1
    infinite = bool((np.isinf(low) & (low == high)).any())
    labels = any(column.role in ("category", "ignored") for column in run.columns)
    tips = {
        "gradient boosting (HistGradientBoostingRegressor of scikit-learn)": boosted,
        "--log-target, as the target spans decades": decades and not options.log_target,
        "--range LOW:HIGH, if the instrument has such limits": infinite and not run.limits,
        "--group COLUMN, if several rows are of one sample": labels and not options.group,
        "more --epochs": bool(options.epochs) and run.best_epoch > 0.95 * len(run.history["loss"]),
        "more rows, or other columns": True,
    }
    return [tip for tip, applies in tips.items() if applies]


def _compared(score: Score) -> list[list[str]]:
    """Return a table of errors and mistakes, by method."""
    rows: dict[str, Any] = {
        f"mean absolute error, all {score.measured} measured values": score.errors,
        "the same, where answered with a number": score.answered,
        **score.rates,
        "90 % intervals that hold the measured value": {"model": score.held},
    }
    names = [*score.errors]
    return [
        [score.target, *(WORDS[name] for name in names)],
        *([words, *(str(by.get(name, "")) for name in names)] for words, by in rows.items()),
    ]


def _worst(run: Run, table: Table, measured: Measured, predictions: Predictions) -> list[list[str]]:
    """Return the rows predicted worst, and what names them, in the table's unit."""
    distance = np.nan_to_num(missed(run, measured, predictions.value) / guess_error(run, measured))
    ids = [c.name for c in run.columns if c.role in ("ignored", "group") and c.name in table.cells]
    ids = [name for name in ids if table.cells[name].nunique() > 1][:3]
    parts = [run.in_own_unit(p) for p in (predictions.value, predictions.lower, predictions.upper)]
    rows = [["line", *ids, "target", "measured", "predicted", "90 % interval"]]
    for place in np.argsort(-distance, axis=None)[:WORST]:
        row, output = divmod(int(place), distance.shape[1])
        target, cells = run.options.target[output], table.cells.iloc[row]
        value, low, high = (shown(part[row, output]) for part in parts)
        named = [str(table.lines[row]), *cells[ids], target, cells[target]]
        rows.append([*named, value, f"{low} to {high}"])
    return rows


def _predicted(run: Run, measured: Measured, found: Predictions) -> page.Sections:
    """Return a picture of predicted against measured for each target."""
    sections: page.Sections = {}
    for i, target in enumerate(run.options.target):
        name = f"log10 of {target}" if run.options.log_target else target
        labels = measured.lower[:, i], measured.upper[:, i]
        values = found.value[:, i], found.lower[:, i], found.upper[:, i]
        drawn = partial(page.points, name, labels, values, run.limits or (-np.inf, np.inf))
        sections[f"Predicted and measured: {name}"] = [drawn]
    return sections


def _certain(run: Run, X: Any, measured: Measured, found: list[Score]) -> page.Sections:
    """Return how far intervals and probabilities can be trusted."""
    levels = dict(zip(run.options.target, calibration(run, X, measured), strict=True))
    rows = [["interval", *levels]]
    for parts in zip(*levels.values(), strict=True):
        rows.append([f"{100 * parts[0][0]:.0f} %", *(str(rate) for _, rate in parts)])
    words = "Measured values that lie in the interval: the share should be that of the interval."
    sections: page.Sections = {
        "Intervals": [partial(page.shares, levels, "interval"), words, rows],
    }
    series: dict[str, list[tuple[float, Rate]]] = {}
    for score, ends in zip(found, run.reported, strict=True):
        for side, probability, rate in score.beyond:
            name = f"{score.target} {side} {ends[side == 'above']:.6g}"
            series.setdefault(name, []).append((probability, rate))
    if series:
        rows = [["", "stated on average", "true"]]
        rows += [[name, f"{100 * p:.3g} %", str(r)] for name, ps in series.items() for p, r in ps]
        drawn = partial(page.shares, series, "stated probability")
        sections["Probabilities"] = [drawn, "Rows by the probability that was stated.", rows]
    return sections


def _about(folder: Path, run: Run) -> page.Sections:
    """Return how columns are used, what was trained, and how to do it again."""
    trained, held = (f"{rows:.0f}" for rows in run.rows)
    options = {k: v for k, v in vars(run.options).items() if v not in (None, False, [])}
    facts = [
        f"{trained} rows trained on, {held} held out",
        f"{len(run.history['loss'])} epochs, of which number {run.best_epoch} was the best and is "
        "kept; it was judged by rows that each network left out, not by those held out",
        f"{run.seconds:.1f} s of training; zeroproof {run.version}; data {run.data_sha256[:16]}",
        "options: " + ", ".join(f"{name}={value}" for name, value in options.items()),
    ]
    again = ["zeroproof", "train", "--config", str(folder / "config.json"), "--out", "AGAIN"]
    return {
        "Columns": [run.notes, [["column", "use", "note"], *map(list, map(astuple, run.columns))]],
        "What was trained": [facts],
        page.AGAIN: [shlex.join(again)],
    }


def write_report(
    folder: Path,
    run: Run,
    table: Table,
    measured: Measured,
    found: Predictions,
    rivals: list[Rival],
) -> str:
    """Write ``report.md``, ``report.html`` and ``plot.png``; return a summary for the terminal.

    ``table`` has the rows held out, of which none lacks a target; what follows is about them, in
    the learned unit.
    """
    X, judged = features(table, run.columns), scores(run, measured, found, rivals)
    matters = importance(run, X, measured)
    shuffled = [f"{shown(size)} ± {shown(spread)} %" for _, size, spread in matters]
    sections = {
        "Beside rivals": [*map(_compared, judged), EXPLAINED],
        **_predicted(run, measured, found),
        "Training": [partial(page.curves, run.history, run.best_epoch)],
        **_certain(run, X, measured, judged),
        "What matters": [
            partial(page.bars, matters[:BARS])
            if matters
            else "Not measured: more than 400 columns, or no measured value.",
            "By how much the error rises when a column is shuffled, in % of that of a guess.",
            [["column", "rise"], *([m[0], t] for m, t in zip(matters, shuffled, strict=True))],
        ],
        "Rows that went worst": [_worst(run, table, measured, found)],
        **_about(folder, run),
    }
    said = [verdict(score, run, measured) for score in judged]
    title = f"{', '.join(run.options.target)}, learned from {Path(run.options.data).name}"
    failed = page.write(folder, title, said, sections)
    files = ", ".join(name for name in FILES if (folder / name).exists())
    lines = [*(f"{head}. {rest}" for head, rest in said), _in_columns(judged)]
    lines += [f"In {folder}: {files}", failed]
    return "\n".join(filter(None, lines))


def check(run: Run, measured: Measured, found: Predictions, picture: Path) -> str:
    """Score predictions of rows whose target is known, and draw them; return a summary.

    Args:
        run: finished.
        measured, found: in the learned unit; rows without a target do not count.
        picture: a PNG.
    """
    known = ~measured.missing
    measured, found = measured.rows(known), Predictions(*(p[known] for p in vars(found).values()))
    judged = scores(run, measured, found, [guess(run, int(known.sum()))])
    drawn = page.draw(_predicted(run, measured, found), picture)
    failed = [text for text in drawn.values() if not text.startswith("<svg")]
    return "\n".join([_in_columns(judged), *failed])


def _in_columns(judged: Sequence[Score]) -> str:
    rows = [row for score in judged for row in _compared(score)]
    widths = [2 + max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (map(str.ljust, row, widths) for row in rows)
    return "\n".join(f"  {''.join(row)}".rstrip() for row in padded)
