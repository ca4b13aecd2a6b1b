"""The command ``zeroproof``."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
from collections.abc import Sequence

from zeroproof.command.options import UserError, given_options, parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 2 for a user's error, 130 when interrupted."""
    # Before a file is opened, which would get a closed stream's descriptor.
    sys.stdout, sys.stderr = (s or open(os.devnull, "w") for s in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # ⊥ and ‖ are in few of the older encodings
            stream.reconfigure(errors="replace")
    given = parser().parse_args(arguments)
    try:
        from zeroproof.command.train import predict, train

        if given.command == "train":
            print(train(given_options(given), given.out, resume=given.resume))
        else:
            print(predict(given.run, given.data, given.out, force=given.force))
    except (KeyboardInterrupt, SystemExit) as stop:  # the second is SIGTERM's
        print(f"zeroproof: interrupted; {_again(given) or 'start again'}", file=sys.stderr)
        return 130 if isinstance(stop, KeyboardInterrupt) else int(stop.code or 0)
    except ImportError as error:
        if str(error.name).startswith("zeroproof"):
            raise
        print(f"zeroproof: {error}; pip install 'zeroproof-scm[apps]'", file=sys.stderr)
        return 2
    except (UserError, OSError) as error:
        print(f"zeroproof: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except Exception:  # a bug, which its traceback tells best
        if again := _again(given):
            print(f"zeroproof: a bug broke training off; {again}", file=sys.stderr)
        raise
    return 0


def _again(given: argparse.Namespace) -> str:
    """Return how to continue the run, or an empty string if there is no run yet."""
    if given.command != "train" or not (given.out / "config.json").exists():
        return ""
    return f"continue with: zeroproof train --resume --out {shlex.quote(str(given.out))}"
