"""What fails after a signal, or without one: RES-9 beyond what its properties try."""

from __future__ import annotations

import os
import signal
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
from tests.signal_helpers import (
    BATCHES,
    ENDED,
    Once,
    Shuffled,
    ends_as_if_whole,
    noisy,
    send,
    signalled,
)
from zeroproof.training.checkpoint import checkpoints, read_checkpoint

pytestmark = pytest.mark.usefixtures("foreground")


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
        after = trainer.scheduler.after
        trainer.scheduler.after = lambda event, *record: (  # type: ignore[method-assign]
            record and fail(),
            after(event, *record),
        )
    else:
        trainer = noisy(log_hook=fail, **options)
    ends_as_if_whole(trainer, updates, tmp_path)


class _Failing:
    def __init__(self, batches: list[Batch], fail: Callable[[], None]) -> None:
        self.batches, self.fail = batches, fail

    def __iter__(self) -> Iterator[Batch]:
        self.fail()
        yield from self.batches


@pytest.mark.filterwarnings("ignore:what the loader drew:RuntimeWarning")  # it is ahead
def test_a_compiler_that_a_signal_ends_has_changed_nothing(tmp_path: Path) -> None:
    trainer = noisy(compile=True, checkpoint_dir=tmp_path)
    trainer.update._compiled = lambda *_: signalled()  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    state = read_checkpoint(tmp_path)
    assert state["counters"]["micro_batches"] == state["counters"]["global_step"] == 1
    assert len(state["last_thresholds"]) == 1


@pytest.mark.filterwarnings("ignore:what the loader drew:RuntimeWarning")  # it may be ahead
def test_a_batch_that_is_refused_after_a_signal_is_fetched_again(tmp_path: Path) -> None:
    def loader() -> Shuffled:
        return Shuffled(lambda: torch.rand(()))  # type: ignore[arg-type, return-value]

    fail = Once(3, signalled)
    trainer = noisy(loader(), prepare_batch=lambda b: fail() or b, checkpoint_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    whole, rest = noisy(loader()), noisy(loader())
    whole.fit()
    rest.load_checkpoint(tmp_path)
    assert rest.global_step == 2
    rest.fit()
    assert same(weights(rest.model), weights(whole.model))


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
