"""STEP-6 by ``SCMTrainer``: what it trains in compiled code."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import torch
from torch import Tensor, nn

from properties.subjects.tasks import Batch, ones
from properties.subjects.zeroproof.keeping import Freezing
from properties.subjects.zeroproof.scripted import trainer_of
from properties.subjects.zeroproof.training import Searching
from spec.runs import Plan, Trace
from zeroproof.autodiff import apply_policy


class Centred(nn.Module):
    """Subtracts a running mean, which is a buffer; its outputs are under the policy in force."""

    mean: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        self.mean.lerp_(x.detach().mean(0), 0.5)
        return apply_policy(x - self.mean, torch.zeros_like(x, dtype=torch.bool))


COMPILED = """
import pickle, sys
from properties.subjects.zeroproof import ZeroProof

output, sys.stdout = sys.stdout.buffer, sys.stderr
name, arguments, options = pickle.load(sys.stdin.buffer)
pickle.dump(getattr(ZeroProof(), name)(*arguments, **options), output)
"""


def _in_compiled_code(name: str, *arguments: Any, **options: Any) -> Any:
    """Call a method in a process of its own: run-time type checks of tests cannot be traced."""
    program, given = [sys.executable, "-W", "ignore", "-c", COMPILED], (name, arguments, options)
    done = subprocess.run(program, input=pickle.dumps(given), capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])
    return pickle.loads(done.stdout)


class ZeroProofCompiling:
    """``SCMTrainer`` with ``compile=True``."""

    def train_compiled(self, plan: Plan) -> Trace:
        trace: Trace = _in_compiled_code("train", plan, compile=True)
        return trace

    def left(self, compiled: bool) -> Any:
        return _in_compiled_code("_left_behind", compile=True) if compiled else self._left_behind()

    def _left_behind(self, **options: Any) -> Any:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 3), Centred(3), nn.Linear(3, 1)).double()
        groups = [{"params": p, "lr": 0.1 * i} for i, p in enumerate(model.parameters(), 1)]
        batch = torch.rand(5, 2).double(), torch.ones(5, 1)
        loader = Freezing(next(model.parameters()), [True, True, False, False], batch)

        def loss(y: Tensor, lifted: Batch, loss_weights: Any) -> Tensor:
            terms = {"square": y.square().mean(), "mean": y.mean()}
            return torch.stack([loss_weights[name] * term for name, term in terms.items()]).sum()

        optimizer = torch.optim.SGD(groups, momentum=0.5)
        options |= {"loss_weights": {"square": 0.5, "mean": 32.0}, "gradient_policy": "clamp"}
        options |= {"mixed_precision": True}  # the bound grows with its scale
        trainer = trainer_of(model, optimizer, loss, loader, **options)
        trainer.fit()
        state = copy.deepcopy(trainer.state_dict())
        state["optimizer"]["param_groups"][-1]["momentum"] = 0.25
        trainer.load_state_dict(state)
        trainer.train_step(batch)
        return [float(x) for part in model.state_dict().values() for x in part.flatten()]

    def uncompilable(self, case: str) -> None:
        layer, scalar = nn.Linear(2, 1), case == "a scalar in double precision"
        factor = nn.Parameter(torch.ones((), dtype=torch.float64 if scalar else torch.float32))
        if scalar:
            layer.factor = factor
        free = case == "a parameter of neither"
        kind = Searching if case == "a closure" else torch.optim.SGD
        optimizer = kind([*layer.parameters(), *([factor] if free else [])], lr=0.1)
        trainer_of(
            layer, optimizer, lambda y, lifted: (factor * y).mean(), ones(2), compile=True
        ).fit()
