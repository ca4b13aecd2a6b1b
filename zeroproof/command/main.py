"""The command ``zeroproof``."""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from zeroproof.command.options import Options, parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 2 for a user's error, 130 when interrupted."""
    for name in ("stdout", "stderr"):  # first, lest a file get the number of a closed stream
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # ⊥ and ‖ are in few of the older encodings
            stream.reconfigure(errors="replace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--range" in given[:-1]:  # whose value may begin with a minus
        place = given.index("--range")
        given[place : place + 2] = [f"--range={given[place + 1]}"]
    parsed = parser().parse_args(given)
    chosen = _chosen(vars(parsed)) if parsed.command == "train" else {}
    try:
        from zeroproof.command.predict import predict
        from zeroproof.command.table import UserError
        from zeroproof.command.train import train
    except ImportError as error:
        what = f"zeroproof {parsed.command} needs more packages ({error})"
        print(f"{what}; pip install 'zeroproof-scm[apps]'", file=sys.stderr)
        return 2
    try:
        if parsed.command == "train":
            print(train(chosen, parsed.out, resume=parsed.resume))
        else:
            print(predict(parsed.run, parsed.data, parsed.out, force=parsed.force))
    except (KeyboardInterrupt, SystemExit) as stop:  # the second is SIGTERM's
        again = "start again"
        if parsed.command == "train" and (parsed.out / "config.json").exists():
            again = f"continue with: zeroproof train --resume --out {shlex.quote(str(parsed.out))}"
        print(f"zeroproof: interrupted; {again}", file=sys.stderr)
        return 130 if isinstance(stop, KeyboardInterrupt) else int(stop.code or 0)
    except (UserError, OSError) as error:
        print(f"zeroproof: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _chosen(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, by arguments or else by a file."""
    configured = vars(parser().parse_args(["train", *given["config"]]))
    found = {}
    for name in (option.name for option in fields(Options)):
        value = configured[name] if given[name] is None else given[name]
        if value is not None:
            found[name] = str(Path(value).absolute()) if name in ("data", "test") else value
    return found
