"""``zeroproof`` as a subject in other ways than as it is on the CPU: compiled, and on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from inspect import isfunction
from typing import Any

import torch

from properties.assertions import Unsupported
from properties.subjects.tensors import OnTensors
from properties.subjects.zeroproof import ZeroProof
from properties.subjects.zeroproof.bottom import ZeroProofBottom
from properties.subjects.zeroproof.coverage import ZeroProofCoverage
from properties.subjects.zeroproof.decoding import ZeroProofDecoding
from properties.subjects.zeroproof.lifting import ZeroProofLifting
from properties.subjects.zeroproof.likelihood import ZeroProofLikelihoods
from properties.subjects.zeroproof.losses import ZeroProofLosses
from properties.subjects.zeroproof.policies import ZeroProofPolicies
from spec.runs import Plan, Trace


class Compiled:
    """``SCMTrainer`` with ``compile=True``, as far as plans show it; nothing else is compiled."""

    def train(self, plan: Plan) -> Trace:
        """Carry out a plan in compiled code."""
        if plan.ranks > 1:
            raise Unsupported("compiled code is tried in one process")
        return ZeroProof().train_compiled(plan)


class Cuda(ZeroProof):
    """``zeroproof`` with tensors on a CUDA device, and plans that its trainer carries out there."""

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise RuntimeError("torch finds no CUDA device; use the subject 'zeroproof'")

    def train(self, plan: Plan, **options: Any) -> Trace:
        """Fit on the device; several ranks share none, and stay on the CPU."""
        where = {} if plan.ranks > 1 else {"device": "cuda"}
        return super().train(plan, **where, **options)

    def reduced_precision(self) -> AbstractContextManager[object]:
        return torch.autocast("cuda", torch.bfloat16)


def _on_device(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def on_device(*arguments: Any, **options: Any) -> Any:
        with torch.device("cuda"):
            return method(*arguments, **options)

    return on_device


for part in (
    OnTensors,
    ZeroProofBottom,
    ZeroProofCoverage,
    ZeroProofDecoding,
    ZeroProofLifting,
    ZeroProofLikelihoods,
    ZeroProofLosses,
    ZeroProofPolicies,
):
    for name, member in vars(part).items():
        if isfunction(member) and not name.startswith("_") and name not in vars(Cuda):
            setattr(Cuda, name, _on_device(member))
