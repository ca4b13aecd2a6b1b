"""The command ``zeroproof``."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import zeroproof
from zeroproof.command.predict import predict
from zeroproof.command.run import Options, Run
from zeroproof.command.table import UserError
from zeroproof.command.train import train
from zeroproof.layers.projective import HEADS
from zeroproof.training.trainer import CheckpointError, NonFiniteError

DEFAULTS = {
    "epochs": 500,
    "batch_size": 128,
    "lr": 0.01,
    "seed": 0,
    "device": "cpu",
    "amp": "off",
    "head": "gated",
}
SHIPPED_TARGET = "log10_ic50_uM"


def _at_least(least: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        value = int(text)
        if not least <= value < 2**63:
            raise argparse.ArgumentTypeError(f"must be at least {least}, below 2^63, got {text}")
        return value

    return integer


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a finite number above 0, got {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zeroproof", description="Train models through singularities."
    )
    parser.add_argument("--version", action="version", version=zeroproof.__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser(
        "train",
        help="train on a table",
        description="Train on a CSV table. Numeric columns are features, other columns are "
        "carried along; inf, -inf and nan are legal targets. Without DATA: the measurements of "
        "COVID Moonshot that the package ships.",
    ).add_argument
    add("data", nargs="?", type=Path, metavar="DATA.csv", help="the table (default: Moonshot)")
    add("--target", metavar="COL", help="the column to learn; needed with DATA")
    add("--out", type=Path, default=Path("zeroproof-run"), metavar="DIR", help="%(default)s")
    add("--epochs", type=_at_least(1), help=f"passes over the data ({DEFAULTS['epochs']})")
    add("--batch-size", type=_at_least(1), help=f"rows a step ({DEFAULTS['batch_size']})")
    add("--lr", type=_rate, help=f"first learning rate ({DEFAULTS['lr']})")
    add("--seed", type=_at_least(0), help=f"of split, weights and order ({DEFAULTS['seed']})")
    add("--device", help=f"where to train ({DEFAULTS['device']})")
    add("--amp", choices=["off", "fp16", "bf16"], help=f"precision ({DEFAULTS['amp']})")
    add(
        "--head",
        choices=sorted(HEADS),
        help=f"free for poles that are crossed ({DEFAULTS['head']})",
    )
    add("--resume", action="store_true", help="go on with the run in DIR, exactly")
    add = commands.add_parser(
        "predict",
        help="predict for a table with a trained run",
        description="Write the table's columns and prediction (empty where ⊥), bottom (0/1), "
        "orientation (-1, 0, 1) and denominator (unit gauge).",
    ).add_argument
    add("run", type=Path, metavar="DIR", help="the folder that train has left")
    add("data", type=Path, metavar="DATA.csv", help="the table")
    add("--out", type=Path, required=True, metavar="PRED.csv", help="where to write")
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    """Fill what was not given: from the run that is resumed, else with the defaults."""
    given = vars(arguments)
    if arguments.resume:
        before = vars(Run.read(arguments.out).options)
    else:
        before = dict(DEFAULTS)
        if arguments.data is None:
            shipped = resources.files(zeroproof) / "data" / "moonshot.csv"
            before |= {"data": str(shipped), "target": SHIPPED_TARGET}
        elif arguments.target is None:
            raise UserError("--target is missing: name the column of DATA to learn")
    names = ("data", "target", *DEFAULTS)
    chosen: dict[str, Any] = {
        name: before.get(name) if given[name] is None else given[name] for name in names
    }
    return Options(**chosen | {"data": str(Path(chosen["data"]).absolute())})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 2 for a user's error, 130 when interrupted."""
    for name in ("stdout", "stderr"):  # first, lest a file get the number of a closed stream
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # ⊥ and ‖ are in few of the older encodings
            stream.reconfigure(errors="replace")
    parsed = _parser().parse_args(arguments)
    try:
        if parsed.command == "train":
            print(train(_options(parsed), parsed.out, resume=parsed.resume))
        else:
            print(predict(parsed.run, parsed.data, parsed.out))
    except KeyboardInterrupt:
        again = "start again"
        if parsed.command == "train" and (parsed.out / "checkpoint.pt").exists():
            again = f"go on with: zeroproof train --resume --out {parsed.out}"
        print(f"zeroproof: interrupted; {again}", file=sys.stderr)
        return 130
    except (UserError, CheckpointError, NonFiniteError, OSError) as error:
        print(f"zeroproof: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0
