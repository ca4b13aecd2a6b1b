"""Signals to a run, its loader and its program: RES-4 beyond what its properties try."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from tests.helpers import fit_loss, make_trainer, pole_batches, small_model
from tests.signal_helpers import (
    BATCHES,
    ENDED,
    Once,
    Shuffled,
    ends_as_if_whole,
    noisy,
    number_of,
    send,
    signalled,
)
from zeroproof.training.signals import TORCH, DeferredSignals
from zeroproof.training.trainer import SCMTrainer

pytestmark = pytest.mark.usefixtures("foreground")


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
    "names", [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGINT"), ("SIGHUP",), ("SIGINT", "SIGTERM")]
)
def test_a_signal_that_comes_twice_at_once_or_from_a_closed_terminal_tears_nothing(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    trainer = noisy(checkpoint_dir=tmp_path)
    trainer.update.optimizer.register_step_pre_hook(Once(3, lambda: send(*names)))
    ends_as_if_whole(trainer, 3, tmp_path, names[0])


@pytest.fixture
def complaining() -> Iterator[None]:
    """Handle the death of a child as torch does once a loader has workers."""

    def complain(number: int, frame: object) -> None:
        raise RuntimeError("a worker was killed")

    complain.__module__ = TORCH
    before = signal.signal(signal.SIGCHLD, complain)
    yield
    signal.signal(signal.SIGCHLD, before)


def test_workers_that_a_signal_kills_late_do_not_replace_it(
    complaining: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off() -> None:
        with DeferredSignals(lambda fetching: None) as signals:
            for _ in signals.watch([1]):
                send("SIGINT")
                raise ValueError("what it broke off")

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    send("SIGCHLD")
    handler: Any = signal.getsignal(signal.SIGCHLD)
    assert handler.__module__ == TORCH, "as the next fit looks for"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2.0)
    with pytest.raises(RuntimeError, match="a worker was killed"):
        send("SIGCHLD")


def test_a_second_death_does_not_tear_what_the_first_one_undoes(complaining: None) -> None:
    def dying() -> Iterator[int]:
        yield 1
        send("SIGCHLD")

    def train() -> None:
        with DeferredSignals(lambda fetching: None) as signals:
            try:
                list(signals.watch(dying()))
            finally:
                send("SIGCHLD")
                undone.append(True)

    undone: list[bool] = []
    with pytest.raises(RuntimeError, match="a worker was killed"):
        train()
    assert undone == [True]


def test_a_validation_is_broken_off_at_once_and_made_by_another_fit(tmp_path: Path) -> None:
    seen: list[int] = []
    validated = Shuffled(Once(2, lambda: send("SIGINT")))
    trainer = noisy(validated=validated, checkpoint_dir=tmp_path, max_epochs=1)
    prepare = trainer.evaluate.prepare

    def counted(*arguments: Any, **options: Any) -> Any:
        if "narrows" not in options:  # which a validation does not give
            seen.append(1)
        return prepare(*arguments, **options)

    trainer.evaluate.prepare = counted  # type: ignore[method-assign]
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
    before = signal.getsignal(number_of(name))
    with pytest.raises(ENDED[name]), trainer.signals:
        trainer.train_step(*pole_batches((4,)))
    assert (ended, trainer.global_step) == ([1], 1)
    assert len(list(tmp_path.iterdir())) == 1
    assert signal.getsignal(number_of(name)) is before


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


@pytest.mark.parametrize("where", ["another thread", "own handler"])
def test_signals_that_others_take_are_left_alone(where: str) -> None:
    def own(number: int, frame: Any) -> None: ...

    taken: list[Any] = []

    def look() -> None:
        with DeferredSignals(lambda fetching: None) as signals:
            taken.extend(signals._taken)

    if where == "own handler":
        signal.signal(signal.SIGTERM, own)
        look()
        assert signal.SIGTERM not in taken
        assert signal.getsignal(signal.SIGTERM) is own
    else:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert taken == []


def test_a_second_ctrl_c_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zeroproof.training.signals.PATIENCE", -1.0)

    def pressed() -> None:
        with DeferredSignals(lambda fetching: None) as signals:
            signal.raise_signal(signal.SIGINT)
            assert signals.received == signal.SIGINT
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("it waited")

    for press in (pressed, partial(signal.raise_signal, signal.SIGINT)):
        with pytest.raises(KeyboardInterrupt):
            press()


@pytest.mark.parametrize("when", ["update", "validation", "last validation"])
def test_ctrl_c_is_honoured_once_and_then_training_goes_on(when: str, tmp_path: Path) -> None:
    trainer: SCMTrainer

    def loss(outputs: Any, lifted: Any) -> Any:
        place = "update" if trainer.model.training else "validation"
        last = trainer.epoch == trainer.config.max_epochs
        if not pressed and when == ("last " if last and place == "validation" else "") + place:
            pressed.append(trainer.epoch)
            signal.raise_signal(signal.SIGINT)
        return fit_loss(outputs, lifted)

    pressed: list[int] = []
    batches = pole_batches((4, 4))
    options: dict[str, Any] = {"checkpoint_dir": tmp_path, "val_loader": batches, "max_epochs": 2}
    trainer = make_trainer(small_model(), batches, loss, **options)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert len(list(tmp_path.iterdir())) == 1
    resumed = make_trainer(small_model(), batches, fit_loss, **options)
    resumed.load_checkpoint(tmp_path)
    assert resumed.micro_step == trainer.micro_step
    if when != "last validation":
        trainer.fit()
        assert trainer.epoch == 2
