"""Signals, and what fails after them: RES-4 and RES-9 beyond what their properties try."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from tests.helpers import (
    Batch,
    finite_batches,
    fit_loss,
    make_trainer,
    pole_batches,
    same,
    small_model,
    weights,
)
from zeroproof.training.checkpoint import checkpoints, read_checkpoint
from zeroproof.training.trainer import SCMTrainer

BATCHES = 4
ENDED = {"SIGINT": KeyboardInterrupt, "SIGTERM": SystemExit, "SIGHUP": SystemExit}


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    """Handle signals as a program in the foreground does."""
    own = {signal.SIGINT: signal.default_int_handler}
    before = {n: signal.signal(n, own.get(n, signal.SIG_DFL)) for n in map(_number, ENDED)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _number(name: str) -> signal.Signals:
    return signal.Signals[name]


def send(*names: str) -> None:
    for name in names:
        os.kill(os.getpid(), _number(name))


class Once:
    """Does something at one of the times that it is called."""

    def __init__(self, at: int, action: Callable[[], None]) -> None:
        self.left, self.action = at, action

    def __call__(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.action()


class Shuffled:
    """A loader that draws an order, and calls ``before`` before each of its micro-batches."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.batches, self.before = pole_batches([4] * BATCHES), before

    def __iter__(self) -> Iterator[Batch]:
        for index in torch.randperm(BATCHES).tolist():
            self.before()
            yield self.batches[index]


def signalled(name: str = "SIGINT") -> None:
    """Send a signal, and fail, as what the same signal ends does."""
    send(name)
    raise OSError("something fails")


def noisy(
    loader: Any = None, validated: Any = None, loss: Any = fit_loss, **options: Any
) -> SCMTrainer:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Dropout(0.2), small_model())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=9.0)
    given = {"max_epochs": 2, "val_loader": validated or pole_batches((5,)), **options}
    return make_trainer(
        model, loader or Shuffled(), loss, optimizer=optimizer, scheduler=plateau,
        scheduler_step="val", **given,
    )  # fmt: skip


def ends_as_if_whole(trainer: SCMTrainer, updates: int, folder: Path, name: str = "SIGINT") -> None:
    """Fit; the signal ends it after so many updates, and the resumed run is the uninterrupted."""
    with pytest.raises(ENDED[name]) as caught:
        trainer.fit()
    assert name == "SIGINT" or caught.value.code == 128 + _number(name)
    whole, rest = noisy(), noisy()
    whole.fit()
    rest.load_checkpoint(folder)
    assert rest.global_step == trainer.global_step == updates
    rest.fit()
    assert same(weights(rest.model), weights(whole.model))
    assert repr(rest.val_history) == repr(whole.val_history)  # where NaN equals NaN
    assert rest.update.optimizer.param_groups[0]["lr"] == 0.0001, "a plateau in each epoch"


@pytest.mark.parametrize("count", [4, pytest.param(200, marks=pytest.mark.endurance)])
def test_signals_to_a_group_leave_a_checkpoint_from_which_the_run_continues(count: int) -> None:
    command = [sys.executable, "-m", "tests.signalled", str(count), "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) == count
    assert not [run for run in runs if not (run["ended"] and run["right"] and run.get("saved", 1))]
    assert sum(run["ended"] is True for run in runs) >= count // 2


@pytest.mark.parametrize(
    ("where", "at", "updates"),
    [
        ("first fetch", BATCHES + 1, 4),
        ("hook", 3, 3),
        ("hook at a validation", BATCHES + 1, 4),
        ("first validation", 1, 4),
        ("last validation", 2, 8),
        ("plateau", 1, 4),
    ],
)
def test_what_fails_after_a_signal_is_not_the_end(
    where: str, at: int, updates: int, tmp_path: Path
) -> None:
    fail = Once(at, signalled)
    options: dict[str, Any] = {"checkpoint_dir": tmp_path}
    if where == "first fetch":
        trainer = noisy(Shuffled(fail), **options)
    elif where.endswith(" validation") and "hook" not in where:
        batches = [(x, y) for x, y in pole_batches((5,))]
        trainer = noisy(validated=_Failing(batches, fail), **options)
    elif where == "plateau":
        trainer = noisy(**options)
        step = trainer.scheduler.after_validation
        trainer.scheduler.after_validation = lambda record: (fail(), step(record))  # type: ignore
    else:
        trainer = noisy(log_hook=fail, **options)
    ends_as_if_whole(trainer, updates, tmp_path)


class _Failing:
    def __init__(self, batches: list[Batch], fail: Callable[[], None]) -> None:
        self.batches, self.fail = batches, fail

    def __iter__(self) -> Iterator[Batch]:
        self.fail()
        yield from self.batches


@pytest.mark.parametrize(
    "names", [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGINT"), ("SIGHUP",), ("SIGINT", "SIGTERM")]
)
def test_a_signal_that_comes_twice_at_once_or_from_a_closed_terminal_tears_nothing(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    trainer = noisy(checkpoint_dir=tmp_path)
    trainer.update.optimizer.register_step_pre_hook(Once(3, lambda: send(*names)))
    ends_as_if_whole(trainer, 3, tmp_path, names[0])


def test_a_validation_is_broken_off_at_once_and_made_by_another_fit(tmp_path: Path) -> None:
    seen: list[int] = []
    validated = Shuffled(Once(2, lambda: send("SIGINT")))
    trainer = noisy(validated=validated, checkpoint_dir=tmp_path, max_epochs=1)
    evaluate = trainer.evaluate.average
    trainer.evaluate.average = lambda batches, ranks: evaluate(  # type: ignore[method-assign]
        (seen.append(1) or batch for batch in batches), ranks
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert (len(seen), len(trainer.val_history)) == (2, 0)
    trainer.fit()
    assert (len(seen), len(trainer.val_history), trainer.global_step) == (6, 1, 4)
    with pytest.raises(RuntimeError, match="nothing to do"):
        trainer.fit()


def test_a_signal_during_a_periodic_save_ends_the_run_there(tmp_path: Path) -> None:
    trainer, saves = (
        noisy(checkpoint_dir=tmp_path, checkpoint_every=2),
        Once(1, lambda: send("SIGTERM")),
    )
    write = torch.save
    with mock.patch("torch.save", lambda *a: (saves(), write(*a))):
        ends_as_if_whole(trainer, 2, tmp_path, "SIGTERM")


def test_a_replay_that_is_broken_off_leaves_the_place(tmp_path: Path) -> None:
    first = noisy(checkpoint_dir=tmp_path)
    first.update.optimizer.register_step_pre_hook(Once(3, lambda: send("SIGINT")))
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    again = noisy(Shuffled(Once(2, signalled)), checkpoint_dir=tmp_path)
    again.load_checkpoint(tmp_path)
    ends_as_if_whole(again, 3, tmp_path)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_loop_by_hand_makes_its_update_first(name: str, tmp_path: Path) -> None:
    trainer, ended = noisy(checkpoint_dir=tmp_path), list[int]()
    trainer.update.optimizer.register_step_pre_hook(lambda *_: send(name))
    trainer.update.optimizer.register_step_post_hook(lambda *_: ended.append(1))
    before = signal.getsignal(_number(name))
    with pytest.raises(ENDED[name]), trainer.signals:
        trainer.train_step(*pole_batches((4,)))
    assert (ended, trainer.global_step) == ([1], 1)
    assert len(list(tmp_path.iterdir())) == 1
    assert signal.getsignal(_number(name)) is before


def test_a_handler_of_the_programs_own_may_ask_for_the_end(tmp_path: Path) -> None:
    asked = signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        trainer = noisy(checkpoint_dir=tmp_path)
        usr1 = Once(3, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        trainer.update.optimizer.register_step_pre_hook(usr1)
        ends_as_if_whole(trainer, 3, tmp_path, "SIGTERM")
    finally:
        signal.signal(signal.SIGUSR1, asked)


def test_a_second_ctrl_c_ends_a_loader_that_hangs_and_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang() -> None:
        send("SIGINT")
        monkeypatch.setattr("zeroproof.training.signals.PATIENCE", -1.0)  # a second is over
        send("SIGINT")

    trainer = noisy(Shuffled(Once(BATCHES + 1, hang)), checkpoint_dir=tmp_path)
    ends_as_if_whole(trainer, 4, tmp_path)


@pytest.mark.filterwarnings("ignore:what the loader drew:RuntimeWarning")  # it is ahead
def test_a_compiler_that_a_signal_ends_has_changed_nothing(tmp_path: Path) -> None:
    trainer = noisy(compile=True, checkpoint_dir=tmp_path)
    trainer.update._compiled = lambda *_: signalled()  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    state = read_checkpoint(tmp_path)
    assert state["counters"]["micro_batches"] == state["counters"]["global_step"] == 1
    assert len(state["last_thresholds"]) == 1


def test_what_cannot_be_saved_is_warned_of(tmp_path: Path) -> None:
    trainer = noisy(checkpoint_dir=tmp_path, checkpoint_every=2)
    trainer.update.optimizer.register_step_pre_hook(Once(4, lambda: send("SIGTERM")))
    write, full = torch.save, OSError("the disk is full")
    with (
        mock.patch("torch.save", mock.Mock(side_effect=[None, full, full], wraps=write)),
        pytest.warns(RuntimeWarning, match="not saved: the disk is full; load an earlier"),
        pytest.raises(SystemExit) as caught,
    ):
        trainer.fit()
    assert caught.value.code == 143
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_update_that_fails_is_not_saved(name: str, tmp_path: Path) -> None:
    fail = Once(6, lambda: signalled(name))

    def loss(outputs: Any, lifted: Any) -> Tensor:
        if torch.is_grad_enabled():
            fail()
        return fit_loss(outputs, lifted)

    trainer = noisy(loss=loss, checkpoint_dir=tmp_path, checkpoint_every=4)
    with pytest.warns(RuntimeWarning, match="within an update"), pytest.raises(ENDED[name]):
        trainer.fit()
    assert [path.stem[:15] for path in checkpoints(tmp_path)] == ["step-0000000004"]


def test_a_failure_without_a_signal_is_raised_and_nothing_is_saved(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("something fails")

    trainer = noisy(Shuffled(Once(3, fail)), checkpoint_dir=tmp_path)
    with pytest.raises(OSError, match="something fails"):
        trainer.fit()
    assert list(tmp_path.iterdir()) == []


def test_the_signal_may_come_after_the_worker_that_it_kills(tmp_path: Path) -> None:
    class Dying(torch.utils.data.Dataset[Batch]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Batch:
            if index == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return finite_batches(1, 1)[0]

    loader = torch.utils.data.DataLoader(
        Dying(), 1, num_workers=1, collate_fn=lambda x: x[0], multiprocessing_context="fork",
        prefetch_factor=1,
    )  # fmt: skip
    late = threading.Timer(0.0, lambda: None)

    def follow(*_: object) -> None:
        nonlocal late
        late = threading.Timer(0.3, lambda: send("SIGTERM"))
        late.start()
        time.sleep(0.1)

    trainer = make_trainer(small_model(), loader, checkpoint_dir=tmp_path, log_hook=Once(3, follow))
    with pytest.raises(SystemExit):
        trainer.fit()
    late.join()
    assert read_checkpoint(tmp_path)["counters"]["global_step"] == 3


@pytest.mark.parametrize("stream", ["none", "closed", "broken pipe"])
def test_progress_needs_no_terminal(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = mock.Mock(wraps=sys.stderr)
    errors = {"closed": ValueError("closed"), "broken pipe": BrokenPipeError(32, "broken")}
    file.write.side_effect = file.flush.side_effect = errors.get(stream)
    monkeypatch.setattr(sys, "stderr", None if stream == "none" else file)
    trainer = make_trainer(small_model(), finite_batches(3), progress=True)
    assert len(trainer.fit()) == 3
