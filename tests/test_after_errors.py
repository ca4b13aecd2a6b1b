"""What a trainer is after an error in an update, or after a signal that comes late."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers import fit_loss, make_trainer, pole_batches, same, small_model, weights
from zeroproof.training import SCMTrainer
from zeroproof.training.checkpoint import write_latest

pytestmark = pytest.mark.usefixtures("foreground")
BATCHES = pole_batches((8, 8, 8, 8))


class Breaking:
    """A loss that raises at its calls of some numbers."""

    def __init__(self, *at: int) -> None:
        self.calls, self.at = 0, at

    def __call__(self, outputs: Any, lifted: Any) -> Any:
        self.calls += 1
        if self.calls in self.at:
            raise torch.OutOfMemoryError("once")
        return fit_loss(outputs, lifted)


def test_a_signal_in_the_last_save_is_honoured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(*arguments: Any) -> None:
        write_latest(*arguments)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("zeroproof.training.state.write_latest", signalled)
    trainer = make_trainer(small_model(), BATCHES, fit_loss, checkpoint_dir=tmp_path)
    with pytest.raises(SystemExit) as caught:
        trainer.fit()
    assert (caught.value.code, trainer.epoch) == (143, 1)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_in_a_loops_last_update_is_honoured() -> None:
    trainer = make_trainer(small_model(), BATCHES, fit_loss)

    def last() -> None:
        with trainer.signals:
            trainer.train_step(BATCHES[0])
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        last()
    assert trainer.global_step == 1


def test_signals_stay_deferred_after_a_fit_inside() -> None:
    trainer = make_trainer(small_model(), BATCHES, fit_loss)
    done = []

    def loop() -> None:
        with trainer.signals:
            trainer.fit()
            signal.raise_signal(signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_save_after_an_update_that_failed_by_hand_is_of_now(tmp_path: Path) -> None:
    """The random state, and the place of the loader that evaluates nothing, are those of now."""

    def run(loss: Any) -> SCMTrainer:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Dropout(0.5), small_model())
        trainer = make_trainer(model, BATCHES, loss)
        for batch in BATCHES * 2:
            try:
                trainer.train_step(batch)
            except torch.OutOfMemoryError:
                state = torch.get_rng_state()
                trainer.save_checkpoint(tmp_path / "by-hand.pt")
                assert torch.equal(torch.get_rng_state(), state)
                torch.manual_seed(5)
                trainer.load_checkpoint(tmp_path / "by-hand.pt")
                assert torch.equal(torch.get_rng_state(), state)
        return trainer

    assert run(Breaking(6)).global_step == 7


def test_an_update_by_hand_that_is_made_again_counts_once() -> None:
    trainer = make_trainer(small_model(), BATCHES, Breaking(2), tau_train_max=0.5)
    straight = make_trainer(small_model(), BATCHES, fit_loss, tau_train_max=0.5)
    for batch in BATCHES:
        try:
            trainer.train_step(batch)
        except torch.OutOfMemoryError:
            trainer.train_step(batch)
        straight.train_step(batch)
    assert trainer.last_thresholds == straight.last_thresholds
    assert [r["micro_step"] for r in trainer.records.records] == [0, 1, 2, 3]
    assert same(weights(trainer.model), weights(straight.model))


def test_running_statistics_are_finite_after_an_error_over_a_nan() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), small_model())
    x, y = BATCHES[0][0].clone(), BATCHES[0][1]
    x[0] = torch.nan

    def refusing(outputs: Any, lifted: Any) -> Any:
        if not all(part.isfinite().all() for part in outputs):
            raise ValueError("mine")
        return fit_loss(outputs, lifted)

    trainer = make_trainer(model, [], refusing)
    trainer.train_step(*BATCHES[:1])
    with pytest.raises(ValueError, match="mine"):
        trainer.train_step((x, y))
    assert all(b.isfinite().all() for b in model.buffers())


def test_gradients_may_be_complex_beside_real_ones() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.turn = small_model(), nn.Parameter(torch.ones(1, dtype=torch.cfloat))

        def forward(self, x: torch.Tensor) -> Any:
            P, Q = self.inner(x)
            return P * self.turn.real, Q

    for limit in (None, 0.1):
        model = Turned()
        make_trainer(model, BATCHES, fit_loss, max_grad_norm=limit).fit()
        assert model.turn.item() != 1.0
