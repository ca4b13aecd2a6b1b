"""From a micro-batch to its loss: lift → model → loss, eager or compiled."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zeroproof.autodiff.policies import GradientPolicy, gradient_policy
from zeroproof.scm.outputs import gate_outputs, widen_outputs
from zeroproof.training.config import TrainingConfig
from zeroproof.training.metrics import Seen
from zeroproof.training.objective import Objective
from zeroproof.training.ranks import Ranks
from zeroproof.training.targets import lift_targets
from zeroproof.training.transfer import from_host

_NOTHING = nullcontext()
Places: TypeAlias = tuple[tuple[str, tuple[str, ...] | None], ...]
"""Names of numbers, with those of the numbers within where there are several."""


def training_device(model: nn.Module, config: TrainingConfig, ranks: Ranks) -> torch.device:
    """Return the device asked for, or this rank's, or the model's.

    Raises RuntimeError for a device or precision that this machine does not have. Meets: AMP-4.
    """
    model_device = next((p.device for p in model.parameters()), None)
    device = torch.device(config.device or ranks.own_device() or model_device or "cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device is 'cuda', but torch finds no CUDA device; use 'cpu'")
    if config.amp:
        bf16_on_gpu = config.autocast_dtype == torch.bfloat16 and device.type == "cuda"
        if not torch.amp.autocast_mode.is_autocast_available(device.type) or (
            bf16_on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False)
        ):
            raise RuntimeError(
                f"amp_dtype {config.amp_dtype} is not available on device '{device}'; "
                "use another dtype, or mixed_precision=False"
            )
    return device


def compile_options(device: torch.device) -> dict[str, Any] | None:
    """Return options of ``torch.compile`` for a loss, beside the default ones.

    A loss takes six sums of much the same expression, which the compiler would write to a GPU's
    memory for being long, and read again. On a CPU what is small costs no more than its calls,
    which are cheaper in C++.
    """
    if device.type == "cuda":
        return {"realize_opcount_threshold": 1000, "realize_reads_threshold": 100}
    linux = sys.platform == "linux"  # where it was tried
    return {"cpp_wrapper": True} if device.type == "cpu" and linux else None


class Evaluation:
    """Lifts targets, runs the model under autocast and policy, and its outputs through the loss.

    Compiled, it measures the micro-batch, too. Everything that changes from call to call goes in
    as tensors, so that nothing is compiled again for it and nothing is stale.

    Args:
        model: the model.
        objective: the loss.
        config: precision, policy, and whether to compile.
        device: where to run.

    Meets: AMP-1, POL-9, STEP-6.
    """

    def __init__(
        self, model: nn.Module, objective: Objective, config: TrainingConfig, device: torch.device
    ) -> None:
        self._model, self._objective, self._policy = model, objective, config.policy
        self._amp, self._dtype, self._device = config.amp, config.autocast_dtype, device
        self._compiled = None
        if config.compile:
            self._compiled = torch.compile(self._measured, options=compile_options(device))
        self._values, self._vector = list[float](), torch.empty(0)

    def __call__(
        self, inputs: Any, targets: Tensor, tau: float, offered: dict[str, Any]
    ) -> tuple[Tensor, Seen]:
        """Return the loss, and what is seen at the threshold ``tau``.

        ``offered`` are the numbers that a loss may accept.
        """
        with gradient_policy(self._policy) if self._policy else _NOTHING:
            if self._compiled is None:
                return self._run(inputs, targets, tau, offered)
            loss, names, row = self._compiled(inputs, targets, *self._packed(tau, offered))
            return loss, Seen(names, tau, (row,), ())

    def _run(
        self, inputs: Any, targets: Tensor, tau: float | Tensor, offered: dict[str, Any]
    ) -> tuple[Tensor, Seen]:
        lifted = lift_targets(targets)
        autocast = torch.autocast(self._device.type, self._dtype) if self._amp else _NOTHING
        with autocast:
            outputs = self._model(inputs)
        outputs = gate_outputs(widen_outputs(outputs), self._policy or GradientPolicy.PASSTHROUGH)
        given = dict(offered)
        for name, x in (("inputs", inputs), ("targets", targets)):
            if name in self._objective.accepted:
                given[name] = x
        loss, terms = self._objective(outputs, lifted, **given)
        scalars = {"loss": loss, **{f"loss_{name}": term for name, term in terms.items()}}
        return loss, Seen.of(outputs, lifted[1], tau, scalars)

    def _measured(
        self, inputs: Any, targets: Tensor, numbers: Float[Tensor, " n"], places: Places
    ) -> tuple[Tensor, tuple[str, ...], Tensor]:
        tau, *given = numbers.unbind()
        offered: dict[str, Any] = {}
        start = 0
        for name, keys in places:
            if keys is None:
                offered[name], start = given[start], start + 1
            else:
                stop = start + len(keys)
                offered[name], start = dict(zip(keys, given[start:stop], strict=True)), stop
        loss, seen = self._run(inputs, targets, tau, offered)
        return loss, seen.names, seen.row()

    def _packed(self, tau: float, offered: Mapping[str, Any]) -> tuple[Tensor, Places]:
        """Return all numbers as a vector on the device, and where they belong.

        It is the same one as long as they are the same, and a new one comes without a wait.
        """
        values, places = [tau], list[tuple[str, tuple[str, ...] | None]]()
        for name, value in offered.items():
            nested = isinstance(value, Mapping)
            values += value.values() if nested else [value]
            places.append((name, tuple(value) if nested else None))
        if values != self._values:
            self._values, self._vector = values, from_host(values, self._device)
        return self._vector, tuple(places)
