"""``compile=True``: the whole update as one graph on the CPU, the loss as a graph elsewhere."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from zeroproof.autodiff.policies import get_grad_scale, traced_setting
from zeroproof.training.evaluation import Evaluation, MicroBatch, undone
from zeroproof.training.transfer import AsyncHostCopy, from_host
from zeroproof.training.update import Header, Outcome, Update, current_rate

MAX_SHAPES = 8


class CompiledUpdate(Update):
    """An :class:`~zeroproof.training.update.Update` in one graph: forward, backward, step.

    The optimizer's state must exist before it is traced, so updates are eager until one is
    applied. Numbers that change enter as tensors: thresholds, loss arguments, learning rates.

    Meets: STEP-6.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        owned = {id(p) for module in self._modules for p in module.parameters()}
        if any(id(p) not in owned for p in self.parameters()):
            raise ValueError(
                "compile=True differentiates parameters of the model and of a loss that is an "
                "nn.Module; the optimizer has others. Register them in one of the two"
            )
        if self._needs_closure:
            name = type(self.optimizer).__name__
            raise ValueError(f"compile=True cannot trace {name}, whose step takes a closure")
        # Without the hooks around a step, which cannot be traced.
        self._step = inspect.unwrap(type(self.optimizer).step)
        self._rates = [torch.zeros((), dtype=torch.float64) for _ in self.optimizer.param_groups]
        self._gradients_of: dict[nn.Parameter, Tensor] = {}
        self._zero = torch.zeros(())
        self._shapes: set[tuple[Any, ...]] = set()
        options = compile_options(self.evaluate.device)
        self._compiled = torch.compile(
            self._update_in_graph, fullgraph=True, dynamic=False, options=options
        )

    def _run(self, window: Sequence[MicroBatch], headers: list[Header], signal: int) -> Outcome:
        if not self.global_step:
            return super()._run(window, headers, signal)
        if not self._gradients_of:
            self._gradients_of = {p: torch.zeros_like(p) for p in self._reached(window[0])}
            self._check_states()
        rate = current_rate(self.optimizer)
        for parameter, gradient in self._gradients_of.items():
            parameter.grad = gradient
        rows, size = list[Tensor](), self._zero
        names, last = tuple[str, ...](), len(window) - 1
        with self._rates_as_tensors():
            for index, weight in enumerate(self._weights(window)):
                self._check_shape(window[index])
                packed = pack(window[index], weight, self.evaluate.device)
                edges = index == 0, index == last
                row, names, size = self._compiled(*packed, size, *edges)
                rows.append(row)
        return Outcome(AsyncHostCopy(torch.cat(rows) if last else row), names, headers, rate)

    def _update_in_graph(
        self,
        batch: MicroBatch,
        numbers: Tensor,
        size: Tensor,
        first: bool,
        last: bool,
    ) -> tuple[Tensor, tuple[str, ...], Tensor]:
        """Add a micro-batch's gradient; at the last one of a window, make the step, too.

        ``size`` is the largest ``|loss|`` of those before, NaN if one is. Returns the row, which
        ends with the flags of the step, its names, and the largest ``|loss|`` so far.
        """
        loss, names, row, gradients = self._differentiate(*unpack(batch, numbers))
        for parameter, gradient in gradients.items():
            assert parameter.grad is not None
            parameter.grad.copy_(gradient if first else parameter.grad + gradient)
        size = torch.maximum(size, loss.detach().abs())
        if not last:
            return row, names, size
        flags = self._judge(self._normalise(), [size])
        states = self._states()
        before = [state.clone() for state in states]
        with torch.no_grad():
            self._step(self.optimizer)
            for state, old in zip(states, before, strict=True):
                state.copy_(torch.where(flags[0] > 0, state, old))
        return torch.cat([row, flags]), names, size

    def _differentiate(
        self, batch: MicroBatch, weight: Tensor
    ) -> tuple[Tensor, tuple[str, ...], Tensor, dict[nn.Parameter, Tensor]]:
        """Return loss, names and row of a micro-batch, and its share of the gradient."""
        scale = weight if self.scale is None else self.scale.value * weight
        trained = {str(index): p.detach() for index, p in enumerate(self._gradients_of)}
        names: list[str] = []
        scaled = partial(self._scaled_loss, batch=batch, scale=scale, names=names)
        gradients, (_, (loss, row, buffers)) = grad_and_value(scaled, has_aux=True)(trained)
        for module, written in zip(self._modules, buffers, strict=True):
            for name, buffer in module.named_buffers():
                buffer.copy_(written[name])
        own = {p: gradients[str(index)] for index, p in enumerate(self._gradients_of)}
        return loss, tuple(names), row, own

    def _scaled_loss(
        self, values: dict[str, Tensor], batch: MicroBatch, scale: Any, names: list[str]
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Any]]:
        """Return the loss to differentiate in the values of parameters; note the row's names."""
        index_of = {p: str(index) for index, p in enumerate(self._gradients_of)}
        inside = torch.zeros_like(next(iter(values.values()))).sum()
        replaced, buffers = [], []
        for module in self._modules:
            own = {n: values[index_of[p]] for n, p in module.named_parameters() if p in index_of}
            # Added to what is differentiated, a buffer can be written in place.
            written = {n: b + inside.to(b.dtype) for n, b in module.named_buffers()}
            replaced.append(own | written)
            buffers.append(written)
        with traced_setting(self.evaluate.policy, scale):
            loss, found, row = self.evaluate(batch, replaced)
        names += found
        return loss * scale, (loss, row, buffers)

    def _reached(self, batch: MicroBatch) -> list[nn.Parameter]:
        """Return the parameters that the loss reaches; the optimizer leaves the others alone."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        with undone(self._modules):
            loss, _, _ = self.evaluate(unpack(*pack(batch, 1.0, self.evaluate.device))[0])
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        return [p for p, gradient in zip(parameters, found, strict=True) if gradient is not None]

    def clear_gradients(self) -> None:
        """Clear the gradients, all of which model and loss own."""
        for parameter in self._owned:
            parameter.grad = None

    def _states(self) -> list[Tensor]:
        states = [x for state in self.optimizer.state.values() for x in state.values()]
        return [*self._gradients_of, *(x for x in states if isinstance(x, Tensor))]

    def _check_states(self) -> None:
        """Refuse what torch.compile does not write back: 0-d float64 tensors (torch 2.13)."""
        if any(x.dim() == 0 and x.dtype == torch.float64 for x in self._states()):
            raise ValueError(
                "compile=True cannot train float64 parameters without a dimension, nor step counts "
                "in float64 (torch.set_default_dtype); give them a dimension, or use float32"
            )

    def _check_shape(self, batch: MicroBatch) -> None:
        self._shapes.add(batch.targets.shape)
        if len(self._shapes) > MAX_SHAPES:
            raise ValueError(
                f"compile=True met targets of {len(self._shapes)} shapes, each a graph of its own; "
                "give batches of one size (drop_last=True, padding), or compile=False"
            )

    @contextmanager
    def _rates_as_tensors(self) -> Iterator[None]:
        """Let the graph read learning rates that change without being compiled again."""
        groups = self.optimizer.param_groups
        rates = [group["lr"] for group in groups]
        for group, rate, own in zip(groups, rates, self._rates, strict=True):
            group["lr"] = own.fill_(rate)
        try:
            yield
        finally:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate


class CompiledEvaluation(Evaluation):
    """An :class:`~zeroproof.training.evaluation.Evaluation` in one graph, for an eager update.

    On CUDA, and on several ranks, whose gradients a wrapper reduces in the backward.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._compiled = torch.compile(
            self._in_graph, dynamic=False, options=compile_options(self.device)
        )

    def __call__(
        self, batch: MicroBatch, replaced: Sequence[dict[str, Tensor]] = ()
    ) -> tuple[Tensor, tuple[str, ...], Tensor]:
        """Return the loss, and a row of measures and scalars with their names."""
        found: tuple[Tensor, tuple[str, ...], Tensor]
        found = self._compiled(*pack(batch, get_grad_scale(), self.device))
        return found

    def _in_graph(
        self, batch: MicroBatch, numbers: Tensor
    ) -> tuple[Tensor, tuple[str, ...], Tensor]:
        batch, scale = unpack(batch, numbers)
        with traced_setting(self.policy, scale):
            return super().__call__(batch)


def compile_options(device: torch.device) -> dict[str, Any]:
    """Return options of ``torch.compile`` for a loss, beside the default ones.

    Six sums of a loss share a long expression. On a GPU the compiler's defaults would keep it in
    memory, where computing it again is cheaper. On a CPU, C++ calls small kernels at less cost;
    it was tried on Linux only.
    """
    if device.type == "cuda":
        return {"realize_opcount_threshold": 1000, "realize_reads_threshold": 100}
    return {"cpp_wrapper": True} if device.type == "cpu" and sys.platform == "linux" else {}


def pack(
    batch: MicroBatch, weight: float | Tensor, device: torch.device
) -> tuple[MicroBatch, Tensor]:
    """Return a micro-batch without its numbers, and a tensor of them, which is not compiled in."""
    numbers, names = [float(weight), float(batch.tau)], dict[str, tuple[str, ...] | None]()
    for name, value in batch.loss_kwargs.items():
        nested = isinstance(value, Mapping)
        names[name] = tuple(value) if nested else None
        numbers += map(float, value.values() if nested else [value])
    return MicroBatch(batch.inputs, batch.targets, 0.0, names), from_host(numbers, device)


def unpack(batch: MicroBatch, numbers: Tensor) -> tuple[MicroBatch, Tensor]:
    """Return the micro-batch and its weight, from what :func:`pack` returned."""
    weight, tau, *rest = numbers.unbind()
    values = iter(rest)
    kwargs = {
        name: next(values) if nested is None else {key: next(values) for key in nested}
        for name, nested in batch.loss_kwargs.items()
    }
    return MicroBatch(batch.inputs, batch.targets, tau, kwargs), weight
