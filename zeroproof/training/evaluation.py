"""From a micro-batch to its loss: lift → model → loss, eager or compiled."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from zeroproof.autodiff.policies import GradientPolicy, gradient_policy
from zeroproof.scm.outputs import gate_outputs, widen_outputs
from zeroproof.training.config import TrainingConfig
from zeroproof.training.metrics import Seen
from zeroproof.training.objective import Objective
from zeroproof.training.ranks import Ranks
from zeroproof.training.targets import lift_targets

_NOTHING = nullcontext()


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
        self._compiled = torch.compile(self._measured) if config.compile else None
        self._constants = dict[str, tuple[float, Tensor]]()

    def __call__(
        self, inputs: Any, targets: Tensor, tau: float, offered: dict[str, Any]
    ) -> tuple[Tensor, Seen]:
        """Return the loss, and what is seen at the threshold ``tau``.

        ``offered`` are the numbers that a loss may accept.
        """
        with gradient_policy(self._policy) if self._policy else _NOTHING:
            if self._compiled is None:
                return self._run(inputs, targets, tau, offered)
            numbers = self._as_tensors({"tau": tau, "offered": offered})
            loss, names, row = self._compiled(inputs, targets, **numbers)
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
        scalars = {"loss": loss} | {f"loss_{name}": term for name, term in terms.items()}
        return loss, Seen.of(outputs, lifted[1], tau, scalars)

    def _measured(
        self, inputs: Any, targets: Tensor, tau: Tensor, offered: dict[str, Any]
    ) -> tuple[Tensor, tuple[str, ...], Tensor]:
        loss, seen = self._run(inputs, targets, tau, offered)
        return loss, seen.names, seen.row()

    def _as_tensors(self, offered: Mapping[str, Any], place: str = "") -> dict[str, Any]:
        """Return numbers as tensors on the device, new ones where they changed; without a wait."""
        found = dict[str, Any]()
        for name, value in offered.items():
            path = f"{place}.{name}"
            if isinstance(value, Mapping):
                found[name] = self._as_tensors(value, path)
                continue
            last = self._constants.get(path)
            if last is None or last[0] != value:
                tensor = torch.full((), value, dtype=torch.float64, device=self._device)
                last = self._constants[path] = value, tensor
            found[name] = last[1]
        return found
