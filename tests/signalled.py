"""Runs that are signalled at a random moment; forked, as each would import torch for seconds.

Prints a line of JSON for each: how it ended, what it saved, and whether a run that is continued
from there is bitwise the one that was left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tests.helpers import make_trainer, pole_batches, small_model
from tests.signal_helpers import number_of
from zeroproof.training.checkpoint import read_checkpoint

Pair = tuple[Tensor, Tensor]
EPOCHS = 2
SIGNALS = {"SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129}


class Slow(Dataset[Pair]):
    """A data set whose samples take some time, in workers or here."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Pair:
        time.sleep(0.001)
        x = torch.tensor([index / 16, 1.0])
        return x, 1 / (x[0] - 0.3)


class Announced(DataLoader[Pair]):
    """A loader that leaves a file when it is iterated over, which a run inside ``fit`` does."""

    begun: Path

    def __iter__(self) -> Any:
        self.begun.touch()
        return super().__iter__()


def train(folder: Path, configuration: int) -> None:
    """Train, from the latest checkpoint if there is one, and write what comes of it."""
    persistent, window = bool(configuration & 1), 1 + (configuration >> 1 & 1)
    torch.manual_seed(configuration)
    Announced.begun = folder / "begun"
    loaders: list[Any] = [
        Announced(Slow(), 4, shuffle=shuffled, num_workers=2, persistent_workers=persistent)
        for shuffled in (True, False)
    ]
    model = nn.Sequential(nn.Dropout(0.1), small_model())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    with (folder / "records").open("a", buffering=1) as records:
        trainer = make_trainer(
            model, loaders[0], optimizer=optimizer, scheduler=plateau, scheduler_step="val",
            val_loader=loaders[1], max_epochs=EPOCHS, gradient_accumulation_steps=window,
            log_hook=lambda record: print(repr(record), file=records),
            checkpoint_dir=folder / "saved",
        )  # fmt: skip
        if (folder / "saved").exists():
            trainer.load_checkpoint(folder / "saved")
        trainer.fit()
    for name in SIGNALS:  # which would end what is left to do, and what the run is judged by
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch raises errors for workers that it kills
    state = repr([list(model.state_dict().values()), optimizer.state_dict(), trainer.val_history])
    (folder / "result").write_text(hashlib.sha256(state.encode()).hexdigest())


def forked(task: Callable[[], None]) -> int:
    """Start a task in a process that leads a group; return its id."""
    if pid := os.fork():
        return pid
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells may have set these off
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    status = 1
    try:
        task()
        status = 0
    except KeyboardInterrupt:
        status = 130
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(status)


def wait(pid: int) -> int | None:
    """Return a process's exit status, or None if it hangs; end what is left of its group."""
    until = time.monotonic() + 60
    found = 0
    while not found and time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)
    os.killpg(pid, signal.SIGKILL) if not found else None
    return os.waitstatus_to_exitcode(status) if found else None


def outcome(folder: Path) -> list[str]:
    """Return what a run that has ended has left: its result and its records."""
    return [(folder / name).read_text() for name in ("result", "records")]


def signalled(
    configuration: int, name: str, after: int, moment: float, whole: list[str]
) -> dict[str, Any]:
    """Signal a run's group at a moment after so many records, then continue the run."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        pid = forked(lambda: train(folder, configuration))
        while not (folder / "begun").exists() or _records(folder) < after:
            time.sleep(0.001)
        time.sleep(moment)
        os.killpg(pid, getattr(signal, name))
        status = wait(pid)
        found = {"signal": name, "configuration": configuration, "after": after, "status": status}
        if status == 0:
            return found | {"ended": "before", "right": outcome(folder) == whole}
        if not (folder / "saved").exists():
            # Between the end of training and that of the program, signals end it as any other.
            over = status == -number_of(name) and (folder / "records").read_text() == whole[1]
            return found | {"ended": "between" if over else False, "right": over}
        counters = read_checkpoint(folder / "saved")["counters"]
        records = (folder / "records").read_text().count("'micro_step'")
        status_of_rest = wait(forked(lambda: train(folder, configuration)))
        if counters["epoch"] == EPOCHS and not counters["validation_due"]:  # nothing was left
            right = status_of_rest == 1 and (folder / "records").read_text() == whole[1]
        else:
            right = status_of_rest == 0 and outcome(folder) == whole
        ended, saved = status == SIGNALS[name], counters["micro_step"] == records
        return found | {"ended": ended, "right": right, "saved": saved} | counters


def _records(folder: Path) -> int:
    return (folder / "records").read_text().count("\n")


def main(count: int, seed: int) -> None:
    """Signal so many runs, one after another."""
    torch.set_num_threads(1)
    model = small_model()  # What a first update imports takes a second.
    make_trainer(model, pole_batches((4,)), optimizer=torch.optim.Adam(model.parameters())).fit()
    draw, known = random.Random(seed), dict[int, list[str]]()
    for index in range(count):
        configuration = draw.randrange(4) if count > 4 else 1 + index % 2
        if configuration not in known:
            with tempfile.TemporaryDirectory() as path:
                assert wait(forked(lambda: train(Path(path), configuration))) == 0  # noqa: B023
                known[configuration] = outcome(Path(path))
        whole, name = known[configuration], draw.choice(list(SIGNALS))
        place = draw.randrange(whole[1].count("\n")), draw.uniform(0, 0.03)
        sys.stdout.write(json.dumps(signalled(configuration, name, *place, whole)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
