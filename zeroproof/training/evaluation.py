"""One micro-batch: lift, forward, loss, measures; eager, or as a part of a compiled graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from zeroproof.autodiff.policies import GradientPolicy, gradient_policy
from zeroproof.scm.arcs import kinds
from zeroproof.scm.outputs import gate_outputs, widen_outputs
from zeroproof.training.batches import split_batch
from zeroproof.training.config import TrainingConfig
from zeroproof.training.distributed import Ranks
from zeroproof.training.finite import is_own
from zeroproof.training.loss_adapter import LossAdapter
from zeroproof.training.parts import random_state, restore_random_state
from zeroproof.training.records import MEASURES, measure
from zeroproof.training.targets import Targets, lift_targets


class MicroBatch(NamedTuple):
    """What a loss is evaluated on; the numbers are tensors in compiled code (STEP-6)."""

    inputs: Any
    targets: Targets
    tau: float | Tensor
    loss_kwargs: Mapping[str, Any]


def training_device(model: nn.Module, config: TrainingConfig, ranks: Ranks) -> torch.device:
    """Return the configured device, or this rank's, or the model's.

    Raises RuntimeError for a device or precision that this machine does not have. Meets: AMP-4.
    """
    model_device = next((p.device for p in model.parameters()), None)
    device = torch.device(config.device or ranks.own_device() or model_device or "cpu")
    if device == torch.device("cuda"):
        device = ranks.own_device() or device
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device is 'cuda', but torch finds no CUDA device; use 'cpu'")
    if device.type == "cuda" and ranks.size > 1:
        torch.cuda.set_device(device)  # where NCCL sends objects from
    if config.mixed_precision:
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

    Meets: AMP-1, POL-9.
    """

    def __init__(
        self, model: nn.Module, loss: LossAdapter, config: TrainingConfig, device: torch.device
    ) -> None:
        self.model, self.loss, self.device = model, loss, device
        self.policy, self._prepare_batch = config.policy, config.prepare_batch
        self._autocast_dtype = config.autocast_dtype if config.mixed_precision else None

    def prepare(
        self,
        batch: Any,
        tau: float,
        epoch: int,
        global_step: Callable[[], int],
        *,
        narrows: bool = False,
    ) -> MicroBatch:
        """Return what a loader yielded as a micro-batch on the device."""
        inputs, targets = split_batch(batch, self.device, self._prepare_batch)
        kwargs = self.loss.kwargs(tau, epoch, global_step, narrows=narrows)
        return MicroBatch(inputs, targets, tau, kwargs)

    def __call__(
        self, batch: MicroBatch, replaced: Sequence[dict[str, Tensor]] = ()
    ) -> tuple[Float[Tensor, ""], tuple[str, ...], Float[Tensor, " values"]]:
        """Return the loss, and a row of measures and scalars with their names.

        ``replaced`` are parameters and buffers that take the place of the model's own, and of those
        of a loss that is a module.
        """
        inputs, targets, tau, kwargs = batch
        lifted = lift_targets(targets)
        traced = torch.compiler.is_compiling()
        with gradient_policy(self.policy) if self.policy and not traced else nullcontext():
            with self._autocast():
                outputs = _call(self.model, replaced[:1], inputs)
            policy = self.policy or GradientPolicy.PASSTHROUGH
            outputs = gate_outputs(widen_outputs(outputs), policy)
            loss_fn = partial(_call, self.loss.loss_fn, replaced[1:])
            given = {"inputs": inputs, "targets": targets}
            kwargs = {**kwargs, **{n: x for n, x in given.items() if n in self.loss.accepted}}
            loss, found = self.loss(loss_fn, outputs, lifted, kwargs)
        terms = {name: found[name] for name in sorted(found)}
        names = (*MEASURES, "loss", *(f"loss_{name}" for name in terms))
        with torch.no_grad():
            scalars = torch.stack([self._scalar(x) for x in (loss, *terms.values())])
            return loss, names, torch.cat([measure(outputs, *kinds(lifted), tau), scalars])

    def _scalar(self, x: float | Tensor) -> Tensor:
        if isinstance(x, Tensor):
            return x.to(self.device)
        return torch.full((), x, dtype=torch.float64, device=self.device)

    def _autocast(self) -> Any:
        if not torch.compiler.is_compiling():
            torch.clear_autocast_cache()  # which one around the run would keep over steps
        if self._autocast_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self._autocast_dtype)


def _call(
    function: Any, replaced: Sequence[dict[str, Tensor]], *arguments: Any, **options: Any
) -> Any:
    if not replaced:
        return function(*arguments, **options)
    return functional_call(function, replaced[0], arguments, options)


@contextmanager
def undone(modules: Sequence[nn.Module], *loaders: object) -> Iterator[None]:
    """Undo what forwards do to buffers, global random states and ``loaders``' generators."""
    submodules = [m for module in modules for m in module.modules()]
    buffers = [
        (m, name, buffer, buffer.clone())
        for m in submodules
        for name, buffer in m.named_buffers(recurse=False)
    ]
    random = [random_state(loader) for loader in loaders]
    try:
        yield
    finally:
        with torch.no_grad():
            for m, name, buffer, value in buffers:
                if is_own(buffer) or buffer.layout is not torch.strided:
                    buffer.copy_(value)
                setattr(m, name, buffer)  # a forward may have put another tensor there
        for state, loader in zip(random, loaders, strict=True):
            restore_random_state(state, loader)
