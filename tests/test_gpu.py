"""What needs a CUDA device; skipped, with the reason, where there is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import make_trainer, pole_batches, same, small_model, weights
from zeroproof.command.main import main
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
    half.fit()
    half.save_checkpoint(tmp_path / "run.pt")
    rest.load_checkpoint(tmp_path / "run.pt")
    rest.fit()
    assert same(weights(rest.model), weights(whole.model))


@pytest.mark.filterwarnings("ignore")  # of tracing itself
@pytest.mark.parametrize("fused", [False, True])
def test_compiled_steps_are_the_eager_ones(fused: bool, unchecked: None) -> None:
    def run(compile: bool) -> list[dict[str, float]]:
        model = small_model()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
        return make_trainer(
            model,
            pole_batches((64,) * 8),
            optimizer=optimizer,
            device="cuda",
            compile=compile,
            loss_weights={"fit": 2.0, "rejection": 1.0},
            coverage_threshold=0.99,
        ).fit()

    compiled, eager = run(True), run(False)
    assert [r["global_step"] for r in compiled] == [r["global_step"] for r in eager]
    for name in ("loss", "coverage", "denom_abs_mean", "loss_sign"):
        expected = pytest.approx([r[name] for r in eager], rel=1e-3, abs=1e-5)
        assert [r[name] for r in compiled] == expected


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


def test_half_precision_reaches_the_result_of_float32(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(precision: str) -> float:
        out = str(tmp_path / precision)
        assert main(["train", "--device", "cuda", "--amp", precision, "--out", out]) == 0
        found = re.search(r"mean absolute error of \w+ +([\d.]+)", capsys.readouterr().out)
        assert found
        return float(found[1])

    single = error("off")
    assert max(error("bf16"), error("fp16")) <= 1.05 * single


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("amp", [None, "bf16", "fp16"])
def test_no_call_of_an_epoch_makes_the_host_wait(amp: str | None) -> None:
    options: dict[str, Any] = {"use_amp": True, "amp_dtype": amp} if amp else {}
    model = small_model().cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    batches = [(x.cuda(), y.cuda()) for x, y in pole_batches((64,) * 300)]

    class Watched(list[Any]):
        def __iter__(self) -> Any:
            torch.cuda.set_sync_debug_mode("error")
            yield from super().__iter__()
            torch.cuda.set_sync_debug_mode("default")

    seen: list[Any] = []
    trainer = make_trainer(
        model,
        Watched(batches),
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300),
        max_grad_norm=1.0,
        log_hook=seen.append,
        **options,
    )
    try:
        trainer.fit()
    finally:  # an error leaves the generator where it was
        torch.cuda.set_sync_debug_mode("default")
    assert len(seen) == 300
    assert trainer.global_step + trainer.skipped_steps == 300
