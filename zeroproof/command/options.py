"""The command's options, from arguments or a file."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import zeroproof

TRAIN = """Train on a CSV table, and write a folder: report.html, report.md, predictions.csv (of
rows held out), and what predict needs. A target may hold numbers, bounds such as >50, ranges such
as 10-20, inf and nan. Without DATA: COVID Moonshot's measurements, which the package ships."""
PREDICT = """Write a table's columns and: prediction (empty at a pole, inf or -inf beyond what the
instrument reports), bottom (1 where that is no number, else 0), lower and upper (the value lies
between them with probability 90 %), p_below and p_above (probability to lie beyond what training
reported). With several targets each name begins with its target; one that is taken ends with
_predicted. Rows with a target are scored, and drawn beside OUT. Trust DIR: it can hold code."""


class UserError(Exception):
    """Something that the user can mend; the message is one line."""


@dataclass(frozen=True)
class Options:
    """What the user chose to train with; None where the estimator decides."""

    data: str
    target: list[str]
    test: str | None = None
    group: str | None = None
    log_target: bool = False
    range: tuple[float, float] | None = None
    use: list[str] = field(default_factory=list)
    ignore: list[str] = field(default_factory=list)
    shared_denominator: bool = False
    epochs: int | None = None
    batch_size: int | None = None
    lr: float = 3e-3
    seed: int = 0
    device: str = "cpu"


NAMES = [option.name for option in fields(Options)]


def _range(text: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    with suppress(ValueError):
        ends = float(low or "-inf"), float(high or "inf")
        if colon and ends[0] < ends[1]:
            return ends
    raise argparse.ArgumentTypeError(f"must be LOW:HIGH, as 0.1:50, :50 or 0.1:, got {text}")


def one_line(text: str) -> str:
    """Return a text with single spaces for all white space, as the name of a column has."""
    return " ".join(text.split())


def _config(text: str) -> dict[str, Any]:
    """Return the options in a file, checked as arguments are."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    _add_train(parser)
    try:
        values = dict(json.loads(Path(text).read_text(encoding="utf-8")))
        for name, value in values.get("options", values).items():
            if name not in NAMES:
                raise ValueError(f"no option {name!r}; there are {', '.join(NAMES)}")
            usual = getattr(Options("", []), name)
            if value is not None:
                parser.set_defaults(**{name: _value(name, usual, value)})
        return given_options(parser.parse_args([]))
    except (OSError, TypeError, ValueError, argparse.ArgumentError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def _value(name: str, usual: Any, value: Any) -> Any:
    """Return what a file has for an option in a form that a parser takes for a default."""
    if isinstance(usual, list):
        several = value if isinstance(value, list) else [value]
        return [one_line(str(part)) for part in several]
    if not isinstance(usual, bool):
        return str(value)  # of defaults, only texts are checked
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {json.dumps(value)}")
    return value


def given_options(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the options that were given, by arguments or else by a file."""
    arguments = {n: v for n, v in vars(parsed).items() if n in NAMES and v is not None}
    several = {n: [*dict.fromkeys(v)] for n, v in arguments.items() if isinstance(v, list)}
    return {**parsed.config, **arguments, **several}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments; options that are not given are None."""
    parser = argparse.ArgumentParser("zeroproof", description="Train models through singularities.")
    parser.add_argument("--version", action="version", version=zeroproof.__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_train(commands.add_parser("train", help="train on a table", description=TRAIN))
    predict = commands.add_parser("predict", help="predict for a table", description=PREDICT)
    add = predict.add_argument
    add("run", type=Path, metavar="DIR", help="the folder that train has left")
    add("data", type=Path, metavar="DATA.csv", help="the table")
    add("--out", type=Path, required=True, metavar="PRED.csv", help="where to write")
    add("--force", action="store_true", help="overwrite what is there")
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    column: dict[str, Any] = {"type": one_line, "metavar": "COL"}
    several: dict[str, Any] = {**column, "action": "append"}
    switch: dict[str, Any] = {"action": argparse.BooleanOptionalAction, "default": None}
    file: dict[str, Any] = {"type": os.path.abspath}
    add("data", nargs="?", metavar="DATA", **file, help="the table (default: Moonshot)")
    add("--target", **several, help="the column to learn, needed with DATA; repeat it for several")
    add("--out", type=Path, default=Path("zeroproof-run"), metavar="DIR", help="%(default)s")
    add("--test", metavar="FILE", **file, help="rows to judge by, instead of a fifth of DATA")
    add("--group", **column, help="rows that agree in this column are held out together")
    add("--log-target", **switch, help="learn log10 of the target")
    add("--range", type=_range, metavar="LOW:HIGH", help="what can be reported; --range=-5:5")
    add("--use", **several, help="a column to use that would be left out; may be repeated")
    add("--ignore", **several, help="a column to leave out; may be repeated")
    add("--shared-denominator", **switch, help="several targets have their poles together")
    add("--epochs", type=int, help="passes over the rows (some 4000 updates, 20 to 400)")
    add("--batch-size", type=int, help="rows of an update (a fifteenth, 32 to 512)")
    add("--lr", type=float, help=f"learning rate at the start ({Options.lr})")
    add("--seed", type=int, help=f"of split, weights and order ({Options.seed})")
    add("--device", help=f"where to train ({Options.device})")
    add("--config", type=_config, default={}, metavar="FILE", help="options as in config.json")
    add("--resume", action="store_true", help="continue the run in DIR, exactly, or by more epochs")
