"""Rows as tables, and what must be shown as claims with an interval and a verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from benchmarks.report import aligned
from learning.curves import NOISES
from learning.data import CURVES, Array
from learning.jobs import Row

TITLES = {
    "curves": "Curves with poles: the sine of the angle between predicted and true lines",
    "assay": "Censored labels: COVID Moonshot",
    "diabetes": "Noisy labels: diabetes, censored below 60 and above 200",
    "thresholds": "Certified thresholds: how often the rate holds",
    "arm": "Two outputs, one denominator: median error of an arm, by |sin q₂|",
    "certified": "Certified fits: digits that agree with NIST's, from no start",
}
COLUMNS: dict[str, dict[str, str]] = {
    "assay": {
        "false_finite": "false finite",
        "false_bottom": "false bottom",
        "mae": "MAE, log10",
        "holds_50%": "50 % holds",
        "holds_90%": "90 % holds",
    },
    "diabetes": {
        "clipped_mae": "MAE, clipped",
        "auc": "AUC of > 200",
        "holds_50%": "50 % holds",
        "holds_90%": "90 % holds",
        "above": "P(> 200)",
        "seen_above": "seen",
    },
    "thresholds": {"kept": "kept in splits"},
    "arm": {
        "band_0": "below .02",
        "band_1": ".02 to .1",
        "band_2": ".1 to .3",
        "band_3": "above .3",
    },
    "certified": {"sum": "LRE of the sum", "worst": "of the worst parameter", "seconds": "seconds"},
}
OURS = "likelihood"
VERDICTS = {None: "", True: "met", False: "**not met**"}
TOBIT = "Tobit MLP", "Tobit MLP, a deviation for each row"


@dataclass(frozen=True)
class Claim:
    """What must be shown: the number, its 95 % interval, the target, whether it is met.

    The interval is that of the number under resampling of the seeds, in pairs.
    """

    table: str
    text: str
    value: float
    low: float
    high: float
    target: str
    met: bool | None


class Results:
    """Rows by table, case, method and seed, their numbers in the four digits that are written."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = [_rounded(row) for row in sorted(rows, key=lambda row: row.seed)]
        self.tables = [table for table in TITLES if any(r.table == table for r in self.rows)]

    def methods(self, table: str, case: str | None = None) -> list[str]:
        """Return the methods of a table or of one case, in order."""
        rows = [r for r in self.rows if r.table == table and case in (None, r.case)]
        return list(dict.fromkeys(row.method for row in rows))

    def numbers(self, table: str, case: str, method: str, name: str) -> Array:
        """Return a number of each seed, in order; none where it was not measured."""
        wanted = table, case, method
        rows = [r for r in self.rows if (r.table, r.case, r.method) == wanted]
        return np.array([row.numbers[name] for row in rows if name in row.numbers])

    def claims(self) -> list[Claim]:
        """Return what must be shown of the tables that were made."""
        makers = {"curves": _curves, "assay": _assay, "diabetes": _diabetes}
        makers |= {"thresholds": _thresholds, "arm": _arm, "certified": _certified}
        return [claim for table in self.tables for claim in makers[table](self)]


def _rounded(row: Row) -> Row:
    return replace(row, numbers={name: float(f"{x:.4g}") for name, x in row.numbers.items()})


def but_for(kept: Iterable[Row], rows: Iterable[Row]) -> list[Row]:
    """Return the rows kept, but for those of methods and cases that were measured again."""
    again = {(row.table, row.case, row.method) for row in rows}
    return [row for row in kept if (row.table, row.case, row.method) not in again]


def bootstrap(of: Callable[..., float], *numbers: Array) -> tuple[float, float, float]:
    """Return a statistic of paired numbers, and its 95 % interval over resampled seeds."""
    random, n = np.random.default_rng(0), len(numbers[0])
    drawn = [of(*(x[rows] for x in numbers)) for rows in random.integers(0, n, (2000, n))]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(of(*numbers)), float(low), float(high)


def _curves(found: Results) -> Iterator[Claim]:
    if OURS not in found.methods("curves"):
        return
    averages: dict[str, Callable[[Array], Any]] = {"median": np.median, "mean": np.mean}
    targets = {
        ("exact", "median"): ((0.25, 4),),
        ("exact", "mean"): ((1.0, 5),),
        ("2 % noise", "median"): ((1.0, 5), (0.5, 3)),
        ("2 % noise", "mean"): ((1.0, 5),),
    }
    for (noise, name), bounds in targets.items():
        average, ratios = averages[name], list[float]()
        for curve in CURVES:
            pair = [
                found.numbers("curves", f"{curve}, {noise}", method, name)
                for method in (OURS, "chordal")
            ]
            numbers = bootstrap(lambda a, b: average(a) / average(b), *pair)  # noqa: B023
            ratios.append(numbers[0])
            text = f"{curve}, {noise}: {name} error / the chordal fit's"
            yield Claim("curves", text, *numbers, "", None)
        for bound, curves in bounds:
            count = sum(ratio <= bound for ratio in ratios)
            text = f"curves, {noise}, with a ratio of {name} errors ≤ {bound:g}"
            yield Claim("curves", text, count, count, count, f"≥ {curves}", count >= curves)


def _mean(a: Array) -> float:
    return float(a.mean())


def _assay(found: Results) -> Iterator[Claim]:
    bounds = {"false_finite": 0.005, "false_bottom": 0.005, "mae": 0.03}
    for name, most in bounds.items():
        value, low, high = bootstrap(_mean, found.numbers("assay", "", OURS, name))
        text = COLUMNS["assay"][name]
        yield Claim("assay", text, value, low, high, f"≤ {most:g}", value <= most)
    errors = {m: found.numbers("assay", "", m, "mae") for m in found.methods("assay")}
    ours = errors.pop(OURS)
    best = min(errors, key=lambda method: float(errors[method].mean()))
    value, low, high = bootstrap(_mean, ours - errors[best])
    yield Claim("assay", f"MAE − that of {best}", value, low, high, "lower end ≤ 0", low <= 0)


def _diabetes(found: Results) -> Iterator[Claim]:
    def of(method: str, name: str) -> Array:
        return found.numbers("diabetes", "", method, name)

    best = min(TOBIT, key=lambda method: _mean(of(method, "clipped_mae")))
    pair = of(OURS, "clipped_mae"), of(best, "clipped_mae")
    value, low, high = bootstrap(lambda a, b: float(a.mean() / b.mean()), *pair)
    yield Claim("diabetes", f"MAE / that of {best}", value, low, high, "≤ 1.05", value <= 1.05)
    for level, least, most in (("50%", 0.45, 0.55), ("90%", 0.85, 0.95)):
        value, low, high = bootstrap(_mean, of(OURS, f"holds_{level}"))
        met, target = least <= value <= most, f"{least:g} to {most:g}"
        yield Claim("diabetes", f"{level} intervals hold", value, low, high, target, met)
    for part in ("", "_0", "_1", "_2"):
        gap = of(OURS, f"above{part}") - of(OURS, f"seen_above{part}")
        value, low, high = bootstrap(_mean, gap)
        rows = f"third {int(part[1]) + 1} of the rows" if part else "all rows"
        text, met = f"P(> 200) − share seen, {rows}", low <= 0 <= high
        yield Claim("diabetes", text, value, low, high, "0 in the interval", met)


def _thresholds(found: Results) -> Iterator[Claim]:
    for method in found.methods("thresholds"):
        kept = float(found.numbers("thresholds", "", method, "kept")[0])
        promised = "half" not in method
        target, met = ("≥ 0.95", kept >= 0.95) if promised else ("", None)
        yield Claim("thresholds", f"kept: {method}", kept, kept, kept, target, met)


def _arm(found: Results) -> Iterator[Claim]:
    rival = found.methods("arm")[1]
    for band, most in (("band_0", 0.35), ("band_1", 0.09), ("band_2", 0.025)):
        pair = [found.numbers("arm", "", method, band) for method in (OURS, rival)]
        value, low, high = bootstrap(lambda a: float(np.median(a)), pair[0])
        met, text = bool(value <= most and value < pair[1][0]), f"error, {COLUMNS['arm'][band]}"
        yield Claim("arm", text, value, low, high, f"≤ {most:g}, below {pair[1][0]:.2g}", met)


def _certified(found: Results) -> Iterator[Claim]:
    for file in found.methods("certified"):
        for name, least in (("sum", 8.0), ("worst", 5.0)):
            value = float(found.numbers("certified", "", file, name).min())
            text, target = f"{file}: {COLUMNS['certified'][name]}, worst seed", f"≥ {least:g}"
            yield Claim("certified", text, value, value, value, target, value >= least)
        slowest = float(found.numbers("certified", "", file, "seconds").max())
        text, met = f"{file}: seconds, slowest seed", slowest <= 20
        yield Claim("certified", text, slowest, slowest, slowest, "≤ 20", met)


def as_json(about: dict[str, Any], found: Results) -> str:
    """Return everything that was measured, a claim or a row a line."""
    parts = {"claims": [asdict(claim) for claim in found.claims()]}
    parts["rows"] = [asdict(row) for row in found.rows]
    lines = [f'{{"machine": {json.dumps(about)}']
    for name, entries in parts.items():
        lines.append(f', "{name}": [')
        lines.append(",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries))
        lines.append("]")
    return "\n".join([*lines, "}\n"])


def as_markdown(document: dict[str, Any]) -> str:
    """Return the tables of a document of :func:`as_json`."""
    found = Results(Row(**row) for row in document["rows"])
    claims = [Claim(**claim) for claim in document["claims"]]
    lines = list[str]()
    for table in found.tables:
        lines += [f"## {TITLES[table]}", ""]
        lines += _curve_tables(found) if table == "curves" else _method_table(found, table)
        shown = [
            [c.text, f"{c.value:.3g}", _spread(c), c.target, VERDICTS[c.met]]
            for c in claims
            if c.table == table
        ]
        names = ["claim", "measured", "95 % interval", "target", ""]
        lines += ["", *aligned([names, *shown]), ""]
    about = document["machine"]
    return "\n".join([*lines, f"{about['seeds']} seeds, with torch {about['torch']}.", ""])


def _spread(claim: Claim) -> str:
    return f"{claim.low:.3g} to {claim.high:.3g}" if claim.low < claim.high else ""


def _method_table(found: Results, table: str) -> list[str]:
    cells = [["mean over the splits", *COLUMNS[table].values()]]
    for method in found.methods(table):
        numbers = [found.numbers(table, "", method, name) for name in COLUMNS[table]]
        cells.append([method, *(f"{x.mean():.3g}" if len(x) else "" for x in numbers)])
    return aligned(cells)


def _curve_tables(found: Results) -> list[str]:
    lines = list[str]()
    for noise in NOISES:
        cells = [[f"{noise}: median / mean error", *CURVES]]
        for method in found.methods("curves"):
            row = [method]
            for curve in CURVES:
                case = f"{curve}, {noise}"
                typical = np.median(found.numbers("curves", case, method, "median"))
                mean = found.numbers("curves", case, method, "mean").mean()
                row.append(f"{typical:.1e} / {mean:.1e}")
            cells.append(row)
        lines += [*aligned(cells), ""]
    return lines[:-1]
