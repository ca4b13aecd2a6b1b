"""Processes that train together, started by torchrun as a user would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

SECONDS = 30

SCRIPT = """
import json, os, sys
import torch
import torch.distributed as dist
from torch import nn
from tests.helpers import fit_loss, make_trainer, pole_batches, small_model

task, out = sys.argv[1:]
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
torch.set_num_threads(1)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.v = nn.Parameter(torch.full((), 1.0 + rank, dtype=torch.float64))

    def forward(self, outputs, lifted):
        if task == "fails" and rank == 1:
            raise KeyError("rank 1 fails")
        return fit_loss(outputs, lifted) * self.v.square() + (1 - self.v).square()


model, loss = small_model(rank, dtype=torch.float64), Own()
if task == "fully sharded":
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.device_mesh import init_device_mesh
    dist.init_process_group("gloo")
    model = small_model(0, dtype=torch.float64)
    fully_shard(model, mesh=init_device_mesh("cpu", (size,)))
parameters = [*model.parameters(), *([] if task == "fully sharded" else loss.parameters())]
optimizer = torch.optim.Adam(parameters, lr=0.01)
batches = pole_batches((12, 9, 7, 12, 12), dtype=torch.float64)
batches = [(x[rank::size], y[rank::size]) for x, y in batches]
records = []
trainer = make_trainer(
    model, batches, fit_loss if task == "fully sharded" else loss, optimizer=optimizer,
    scheduler=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
    gradient_accumulation_steps=2, max_epochs=3, log_hook=records.append, val_loader=batches,
    tau_train_max=0.3, coverage_threshold=0.2, progress=True, max_grad_norm=0.5,
)
try:
    trainer.fit()
finally:
    weights = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    found = {"weights": [w.tolist() for w in weights], "v": loss.v.item(), "records": records,
             "steps": trainer.global_step}
    open(f"{out}/{rank}.json", "w").write(json.dumps(found))
if dist.is_initialized():
    dist.barrier()
# Threads of gloo that are still there now and then abort an interpreter that ends.
sys.stderr.flush()
os._exit(0)
"""


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    return number


def run(task: str, ranks: int, folder: Path) -> tuple[subprocess.CompletedProcess[str], list[Any]]:
    """Run the script on ranks; return what it printed, and what each rank found."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    out = folder / f"{task}-{ranks}".replace(" ", "-")
    out.mkdir()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    done = subprocess.run(
        [*launcher, "--master-port", str(port()), str(script), task, str(out)],
        env=os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done, [json.loads(path.read_text()) for path in sorted(out.iterdir())]


def numbers(found: Any) -> list[float]:
    if isinstance(found, dict):
        return [x for name in sorted(found) for x in numbers(found[name])]
    if isinstance(found, list):
        return [x for part in found for x in numbers(part)]
    return [float(found)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    done, (found,) = run("trains", 1, tmp_path_factory.mktemp("alone"))
    assert done.returncode == 0, done.stderr
    return found


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_train_as_one(ranks: int, alone: Any, tmp_path: Path) -> None:
    done, found = run("trains", ranks, tmp_path)
    assert done.returncode == 0, done.stderr
    assert numbers(found[0]) == pytest.approx(numbers(alone), rel=1e-12, abs=1e-12, nan_ok=True)
    assert all(other["weights"] == found[0]["weights"] for other in found)
    assert all(other["v"] == found[0]["v"] for other in found)
    assert [len(other["records"]) for other in found[1:]] == [0] * (ranks - 1)
    assert done.stderr.count(" 0/15") == 1, "rank 0 alone shows progress"


@pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6 shards on GPUs only")
def test_a_fully_sharded_model_is_trained(tmp_path: Path) -> None:
    whole, (expected,) = run("fully sharded", 1, tmp_path)
    assert whole.returncode == 0, whole.stderr
    done, found = run("fully sharded", 2, tmp_path)
    assert done.returncode == 0, done.stderr
    assert numbers(found[0]) == pytest.approx(numbers(expected), rel=1e-9, abs=1e-9, nan_ok=True)


def test_a_rank_that_fails_ends_the_run_with_its_error(tmp_path: Path) -> None:
    began = time.monotonic()
    done, _ = run("fails", 2, tmp_path)
    assert done.returncode != 0
    assert "KeyError: 'rank 1 fails'" in done.stderr
    assert time.monotonic() - began < SECONDS
