"""What the command can be told: by arguments, or by a file of options."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import zeroproof

TRAIN = """Train on a CSV table, and write a folder: report.html, report.md, plot.png,
predictions.csv (of the rows held out), and what predict needs. A target may hold numbers, bounds
such as >50, ranges such as 10-20, inf and nan. Columns of numbers and of few words are features.
Without DATA: the measurements of COVID Moonshot that the package ships."""
PREDICT = """Write a table's columns and: prediction (empty at a pole, inf or -inf beyond what the
instrument reports), bottom (1 where that is no number, else 0), lower and upper (the value lies
between them with probability 90 %), p_below and p_above (the probability to lie below, and above,
what was reported in training). With several targets each name begins with its target. Where targets
are there, predictions are scored, and drawn beside OUT. Predict with runs that you trust alone: a
model's file can hold code."""


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
    amp: str = "off"

    @property
    def unit(self) -> dict[str, Any]:
        """How targets are read."""
        return {"range": self.range, "log": self.log_target}


def _number(kind: type, least: float, most: float) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        if not least <= kind(text) <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}, got {text}")
        return kind(text)

    return number


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    ends = float(low or "-inf"), float(high or "inf")
    if ":" not in text or not ends[0] < ends[1]:
        raise argparse.ArgumentTypeError(f"must be LOW:HIGH, as 0.1:50, :50 or 0.1:, got {text}")
    return ends


def _config(text: str) -> list[str]:
    """Return a file's options as arguments."""
    try:
        values = json.loads(Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be read as JSON ({error})") from error
    values = values.get("options", values) if isinstance(values, dict) else {text: None}
    names, found = [option.name for option in fields(Options)], list[str]()
    for name, value in values.items():
        if name not in names:
            known = ", ".join(names)
            raise argparse.ArgumentTypeError(f"{text}: no option {name!r}; there are {known}")
        flag = f"--{name.replace('_', '-')}"
        if name == "range" and isinstance(value, list):
            value = ":".join(map(str, value))
        if name == "data":
            found.insert(0, str(value))
        elif isinstance(value, bool):
            found.append(flag if value else flag.replace("--", "--no-", 1))
        elif value is not None:
            found += [f"{flag}={one}" for one in (value if isinstance(value, list) else [value])]
    return found


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments; what is not given is None."""
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
    add, at_least_1 = parser.add_argument, _number(int, 1, 10**9)
    several: dict[str, Any] = {"action": "append", "metavar": "COL"}
    switch: dict[str, Any] = {"action": argparse.BooleanOptionalAction, "default": None}
    add("data", nargs="?", metavar="DATA.csv", help="the table (default: Moonshot)")
    add("--target", **several, help="the column to learn, needed with DATA; repeat it for several")
    add("--out", type=Path, default=Path("zeroproof-run"), metavar="DIR", help="%(default)s")
    add("--test", metavar="FILE", help="rows to judge by, in the place of a fifth of DATA")
    add("--group", metavar="COL", help="rows that agree in this column are held out together")
    add("--log-target", **switch, help="learn log10 of the target")
    add("--range", type=_range, metavar="LOW:HIGH", help="what the instrument can report")
    add("--use", **several, help="a column to use that would be left out; may be repeated")
    add("--ignore", **several, help="a column to leave out; may be repeated")
    add("--shared-denominator", **switch, help="several targets have their poles together")
    add("--epochs", type=at_least_1, help="passes over the rows (some 4000 updates, 20 to 400)")
    add("--batch-size", type=at_least_1, help="rows of an update (a fifteenth, 32 to 512)")
    lr, seed = _number(float, 1e-9, 1e3), _number(int, 0, 2**32 - 1)
    add("--lr", type=lr, help=f"learning rate at the start ({Options.lr})")
    add("--seed", type=seed, help=f"of split, weights and order ({Options.seed})")
    add("--device", help=f"where to train ({Options.device})")
    add("--amp", choices=["off", "fp16", "bf16"], help=f"mixed precision ({Options.amp})")
    config = "options as JSON, such as a run's config.json; arguments win"
    add("--config", type=_config, default=[], metavar="FILE", help=config)
    resume = "continue the run in DIR, exactly, or longer by --epochs"
    add("--resume", action="store_true", help=resume)
