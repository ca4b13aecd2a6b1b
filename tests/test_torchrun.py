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

SECONDS = 90  # the processes of gloo would wait for half an hour
# torch 2.6 shards on GPUs only.
TASKS = ["trains", *(["fully sharded"] if torch.__version__ >= "2.7" else [])]

SCRIPT = """
import json, os, sys
import torch
import torch.distributed as dist
from torch import nn
from tests.helpers import fit_loss, make_trainer, pole_batches, small_model

tasks, out = sys.argv[1:]
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
torch.set_num_threads(1)


class Own(nn.Module):
    def __init__(self, fails):
        super().__init__()
        self.v = nn.Parameter(torch.full((), 1.0 + rank, dtype=torch.float64))
        self.fails = fails

    def forward(self, outputs, lifted):
        if self.fails:
            raise KeyError("rank 1 fails")
        return fit_loss(outputs, lifted) * self.v.square() + (1 - self.v).square()


def train(task):
    model, loss = small_model(rank, dtype=torch.float64), Own(task == "fails" and rank == 1)
    sharded = task == "fully sharded"
    if sharded:
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.device_mesh import init_device_mesh
        model = small_model(0, dtype=torch.float64)
        fully_shard(model, mesh=init_device_mesh("cpu", (size,)))
    parameters = [*model.parameters(), *([] if sharded else loss.parameters())]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    batches = pole_batches((12, 9, 7, 12, 12), dtype=torch.float64)
    batches = [(x[rank::size], y[rank::size]) for x, y in batches]
    records = []
    trainer = make_trainer(
        model, batches, fit_loss if sharded else loss, optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
        gradient_accumulation_steps=2, max_epochs=3, log_hook=records.append, val_loader=batches,
        tau_train_max=0.3, coverage_threshold=0.2, progress=not sharded, max_grad_norm=0.5,
    )
    trainer.fit()
    weights = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return {"weights": [w.tolist() for w in weights], "v": loss.v.item(), "records": records,
            "steps": trainer.global_step}


found = {task: train(task) for task in tasks.split(",")}
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


def run(
    tasks: list[str], ranks: int, folder: Path
) -> tuple[subprocess.CompletedProcess[str], list[Any]]:
    """Run the script on ranks; return what it printed, and what each rank found."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    out = folder / str(ranks)
    out.mkdir()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    done = subprocess.run(
        [*launcher, "--master-port", str(port()), str(script), ",".join(tasks), str(out)],
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


def test_ranks_train_as_one_and_so_does_a_sharded_model(tmp_path: Path) -> None:
    alone, (whole,) = run(TASKS, 1, tmp_path)
    assert alone.returncode == 0, alone.stderr
    done, found = run(TASKS, 3, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(found) == 3
    for task in TASKS:
        first, *others = (ranks[task] for ranks in found)
        assert numbers(first) == pytest.approx(
            numbers(whole[task]), rel=1e-9, abs=1e-12, nan_ok=True
        ), task
        assert all(other["weights"] == first["weights"] for other in others), task
        assert all(other["v"] == first["v"] for other in others) or task == "fully sharded"
        assert [other["records"] for other in others] == [[], []], task
    assert done.stderr.count(" 0/15") == 1, "rank 0 alone shows progress"


def test_a_rank_that_fails_ends_the_run_with_its_error(tmp_path: Path) -> None:
    began = time.monotonic()
    done, _ = run(["fails"], 2, tmp_path)
    assert done.returncode != 0
    assert "KeyError: 'rank 1 fails'" in done.stderr
    assert time.monotonic() - began < SECONDS
