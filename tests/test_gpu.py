"""Tests that need a CUDA device; where there is none they are skipped, with the reason.

torch 2.11 cannot compile the run-time checks of shapes: there, run ``pytest -m gpu -o addopts=``.
"""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.command_helpers import read
from tests.helpers import fit_in_two, make_trainer, pole_batches, same, small_model, weights
from zeroproof.losses import SCMTrainingLoss
from zeroproof.training.targets import lift_targets

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]


@pytest.mark.parametrize("amp", [None, "fp16", "bf16"])
def test_the_trainer_learns_and_validates_on_the_device(amp: str | None) -> None:
    options: dict[str, Any] = {"use_amp": True, "amp_dtype": amp} if amp else {}
    model = small_model()
    trainer = make_trainer(
        model,
        pole_batches((64,) * 8),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        max_epochs=30,
        device="cuda",
        val_loader=pole_batches((256,), seed=1),
        **options,
    )
    records = trainer.fit()
    assert {p.device.type for p in model.parameters()} == {"cuda"}
    assert [r["micro_step"] for r in records] == list(range(240))
    assert trainer.val_history[-1]["val_loss"] < 0.2 * trainer.val_history[0]["val_loss"]


def test_a_nan_batch_is_skipped_on_the_device() -> None:
    x, y = pole_batches((8,))[0]
    model = small_model()
    trainer = make_trainer(model, [(x, y), (x * torch.nan, y)], device="cuda")
    trainer.fit()
    assert (trainer.global_step, trainer.skipped_steps) == (1, 1)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_resume_on_the_device(tmp_path: Path) -> None:
    def run(max_epochs: int) -> Any:
        model = small_model()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        batches = pole_batches((16, 16))
        return make_trainer(
            model, batches, optimizer=optimizer, max_epochs=max_epochs, device="cuda"
        )

    whole, half, rest = run(4), run(2), run(4)
    whole.fit()
    fit_in_two(half, rest, tmp_path / "run.pt")
    assert same(weights(rest.model), weights(whole.model))


OPTIMIZERS = {
    "Adam": partial(torch.optim.Adam, lr=0.01),
    "fused Adam": partial(torch.optim.Adam, lr=0.01, fused=True),
    "AdamW": partial(torch.optim.AdamW, lr=0.01),
    "SGD": partial(torch.optim.SGD, lr=0.01, momentum=0.9),
    "RMSprop": partial(torch.optim.RMSprop, lr=0.01),
    "NAdam": partial(torch.optim.NAdam, lr=0.01),
    "RAdam": partial(torch.optim.RAdam, lr=0.01),
    "Adagrad": partial(torch.optim.Adagrad, lr=0.01),
}


def run(
    compile: bool,
    batches: Any,
    make: Any = OPTIMIZERS["Adam"],
    schedule: Any = None,
    **options: Any,
) -> Any:
    model = small_model().cuda()  # where Adagrad makes its state at once
    optimizer = make(model.parameters())
    scheduler = schedule and schedule(optimizer)
    options = {"device": "cuda", "compile": compile} | options
    return make_trainer(model, batches, optimizer=optimizer, scheduler=scheduler, **options)


def state(trainer: Any) -> list[torch.Tensor]:
    slots = trainer.update.optimizer.state_dict()["state"].values()
    tensors = [torch.as_tensor(x).cpu() for slot in slots for x in slot.values()]
    return [x.clone() for x in (*weights(trainer.model), *tensors)]


@pytest.mark.filterwarnings("ignore")  # of tracing itself
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_captured_steps_are_the_eager_ones(name: str, unchecked: None) -> None:
    options: dict[str, Any] = {
        "loss_weights": {"fit": 2.0, "rejection": 1.0},
        "coverage_threshold": 0.99,
        "max_epochs": 2,
    }
    batches = pole_batches((64,) * 4)
    compiled, eager = (run(on, batches, OPTIMIZERS[name], **options) for on in (True, False))
    ours, theirs = compiled.fit(), eager.fit()
    assert any(compiled.update._compiled._captures.values()), "nothing was captured"
    assert [r["global_step"] for r in ours] == [r["global_step"] for r in theirs]
    for name in ("loss", "coverage", "denom_abs_mean", "loss_sign", "tau_train", "lr"):
        expected = pytest.approx([r[name] for r in theirs], rel=1e-3, abs=1e-5)
        assert [r[name] for r in ours] == expected


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("amp", [None, "fp16"])
def test_captured_windows_scales_and_rates(amp: str | None, unchecked: None) -> None:
    options: dict[str, Any] = {"use_amp": True, "amp_dtype": amp} if amp else {}
    options |= {"gradient_accumulation_steps": 3, "max_grad_norm": 0.5, "max_epochs": 3}
    batches = pole_batches((64,) * 8)  # a window of two closes the epoch

    schedule = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.8)
    compiled, eager = (run(on, batches, schedule=schedule, **options) for on in (True, False))
    ours, theirs = compiled.fit(), eager.fit()
    assert sum(c is not None for c in compiled.update._compiled._captures.values()) == 3
    for name in ("global_step", "loss", "lr", "coverage"):
        expected = pytest.approx([r[name] for r in theirs], rel=1e-2 if amp else 1e-3, abs=1e-5)
        assert [r[name] for r in ours] == expected


@pytest.mark.filterwarnings("ignore")
def test_captured_faults_resumes_and_short_batches(unchecked: None) -> None:
    batches = pole_batches((64,) * 6)
    saved: dict[str, Any] = {}

    def save(record: dict[str, float]) -> None:
        if record["micro_step"] == 8 and not saved:
            saved.update(copy.deepcopy(whole.state_dict()))

    whole = run(True, batches, max_epochs=3, log_hook=save)
    resumed = run(True, batches, max_epochs=3)
    whole.fit()
    resumed.load_state_dict(saved)
    resumed.fit()
    assert same(state(resumed), state(whole)), "resumed, but not bitwise"
    kept, (x, y) = state(whole), batches[0]
    assert whole.train_step((x * torch.nan, y))["skipped"] == 1.0
    assert same(state(whole), kept), "a skipped update leaves its mark"
    eager = run(False, batches)
    eager.load_state_dict(whole.state_dict())
    for trainer in (whole, eager):
        for size in (5, 5, 5, 64):
            record = trainer.train_step((x[:size], y[:size]))
    assert record["global_step"] == 22
    for ours, theirs in zip(state(whole), state(eager), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    whole.load_state_dict(saved)  # whose tensors lie elsewhere than those of the capture
    whole.fit()
    assert same(state(whole), state(resumed)), "the graph of an older state was replayed"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", [(2**14,), (2**12, 3)])
def test_a_compiled_loss_has_the_eager_gradients(shape: tuple[int, ...], unchecked: None) -> None:
    y = 1 / torch.where(torch.rand(shape) < 0.1, 0.0, torch.randn(shape))
    y = y.masked_fill(torch.rand(shape) < 0.1, torch.nan).cuda()
    P, Q = (torch.randn(shape).cuda().requires_grad_() for _ in "PQ")
    with torch.no_grad():
        P[0], Q[:2] = 0.0, 0.0  # (0, 0), and a pole

    def found(loss_fn: Any) -> list[torch.Tensor]:
        loss, terms = loss_fn((P, Q), lift_targets(y), tau=0.1, targets=y)
        return [loss, *terms.values(), *torch.autograd.grad(3 * loss, (P, Q))]

    torch.testing.assert_close(found(torch.compile(SCMTrainingLoss())), found(SCMTrainingLoss()))


def test_half_precision_reaches_the_result_of_float32(tmp_path: Path, plain_report: None) -> None:
    from zeroproof.command.main import main

    def error(precision: str) -> float:
        out = tmp_path / precision
        assert main(["train", "--device", "cuda", "--amp", precision, "--out", str(out)]) == 0
        rows = read(out / "predictions.csv")
        known = [
            row for row in rows if row["bottom"] == "0" and row["log10_ic50_uM"][0] not in "<>"
        ]
        assert len(known) > 170
        errors = [abs(float(row["prediction"]) - float(row["log10_ic50_uM"])) for row in known]
        return sum(errors) / len(errors)

    single = error("off")
    assert max(error("bf16"), error("fp16")) <= 1.05 * single


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("amp", [None, "bf16", "fp16"])
def test_no_call_of_an_epoch_makes_the_host_wait(
    amp: str | None, compile: bool, unchecked: None
) -> None:
    options: dict[str, Any] = {"use_amp": True, "amp_dtype": amp} if amp else {}
    model = small_model().cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    batches = [(x.cuda(), y.cuda()) for x, y in pole_batches((64,) * 300)]

    class Watched(list[Any]):
        def __iter__(self) -> Any:
            for index, batch in enumerate(super().__iter__()):
                if index == 8 * compile:  # compiling, and capturing, wait
                    torch.cuda.set_sync_debug_mode("error")
                yield batch
            torch.cuda.set_sync_debug_mode("default")

    seen: list[Any] = []
    trainer = make_trainer(
        model,
        Watched(batches),
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300),
        max_grad_norm=1.0,
        log_hook=seen.append,
        compile=compile,
        **options,
    )
    try:
        trainer.fit()
    finally:  # an error leaves the generator where it was
        torch.cuda.set_sync_debug_mode("default")
    assert len(seen) == 300
    assert trainer.global_step + trainer.skipped_steps == 300
