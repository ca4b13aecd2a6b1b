"""``compile=True``: the whole update as one graph on the CPU, the loss as a graph elsewhere."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from zeroproof.autodiff.policies import traced_setting
from zeroproof.training.evaluation import MicroBatch
from zeroproof.training.state import random_state, restore_random_state
from zeroproof.training.transfer import AsyncHostCopy, from_host
from zeroproof.training.update import Known, Outcome, Update, current_rate

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
        self._step = inspect.unwrap(type(self.optimizer).step)
        self._rates = [torch.zeros((), dtype=torch.float64) for _ in self.optimizer.param_groups]
        self._gradients_of: dict[nn.Parameter, Tensor] = {}
        self._shapes: set[tuple[Any, ...]] = set()
        # On Linux, where it was tried: calls of small kernels are cheaper from C++.
        wrapped: dict[str, Any] = {"cpp_wrapper": True} if sys.platform == "linux" else {}
        self._compiled = torch.compile(
            self._update_in_graph, fullgraph=True, dynamic=False, options=wrapped
        )

    def _run(self, window: Sequence[MicroBatch], known: Sequence[Known], signal: int) -> Outcome:
        if not self.global_step:
            return super()._run(window, known, signal)
        if not self._gradients_of:
            self._gradients_of = {p: torch.zeros_like(p) for p in self._reached(window[0])}
        self._check_shapes(window)
        rate = current_rate(self.optimizer)
        for parameter, gradient in self._gradients_of.items():
            parameter.grad = gradient
        with self._rates_as_tensors():
            values, flags, names = self._compiled(
                [with_tensors(batch, self.evaluate.device) for batch in window],
                self._weights(window),
                self._states(),
            )
        return Outcome(AsyncHostCopy(values), flags, names, known, rate)

    def _update_in_graph(
        self,
        window: Sequence[MicroBatch],
        weights: Sequence[float | Tensor],
        states: Sequence[Tensor],
    ) -> tuple[Tensor, int, tuple[str, ...]]:
        losses: list[Tensor] = []
        rows: list[Tensor] = []
        names: tuple[str, ...] = ()
        for index, (batch, weight) in enumerate(zip(window, weights, strict=True)):
            loss, names, row, gradients = self._differentiate(batch, weight)
            for parameter, gradient in gradients.items():
                assert parameter.grad is not None
                if index:
                    parameter.grad.add_(gradient)
                else:
                    parameter.grad.copy_(gradient)
            losses.append(loss)
            rows.append(row)
        flags = self._judge(self._normalise(), losses)
        before = [state.clone() for state in states]
        with torch.no_grad():
            self._step(self.optimizer)
            for state, old in zip(states, before, strict=True):
                state.copy_(torch.where(flags[0] > 0, state, old))
        return torch.cat([flags, torch.stack(rows).flatten()]), len(flags), names

    def _differentiate(
        self, batch: MicroBatch, weight: float | Tensor
    ) -> tuple[Tensor, tuple[str, ...], Tensor, dict[nn.Parameter, Tensor]]:
        """Return loss, names and row of a micro-batch, and its share of the gradient."""
        scale = weight if self.scale is None else self.scale.value * weight
        reached = {p: f"{index}" for index, p in enumerate(self._gradients_of)}
        trained = {name: p.detach() for p, name in reached.items()}
        names: tuple[str, ...] = ()

        def scaled(values: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor, Any]]:
            nonlocal names
            inside = torch.zeros_like(next(iter(values.values()))).sum()
            functional, buffers = [], []
            for module in self._modules:
                own = {
                    name: values[reached[p]]
                    for name, p in module.named_parameters()
                    if p in reached
                }
                # Added to what is differentiated, a buffer can be written in place.
                written = {n: b + inside.to(b.dtype) for n, b in module.named_buffers()}
                functional.append(_Functional(module, own | written))
                buffers.append(written)
            with traced_setting(self.evaluate.policy, scale):
                loss, names, row = self.evaluate(batch, *functional)
            return loss * scale, (loss, row, buffers)

        gradients, (_, (loss, row, buffers)) = grad_and_value(scaled, has_aux=True)(trained)
        for module, written in zip(self._modules, buffers, strict=True):
            for name, buffer in module.named_buffers():
                buffer.copy_(written[name])
        return loss, names, row, {p: gradients[name] for p, name in reached.items()}

    def _reached(self, batch: MicroBatch) -> list[nn.Parameter]:
        """Return the parameters that the loss reaches; the optimizer leaves the others alone."""
        random = random_state(None)
        buffers = [(b, b.clone()) for module in self._modules for b in module.buffers()]
        parameters = [p for p in self.parameters() if p.requires_grad]
        loss, _, _ = self.evaluate(batch)
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        restore_random_state(random, None)
        return [p for p, gradient in zip(parameters, found, strict=True) if gradient is not None]

    def _states(self) -> list[Tensor]:
        states = [x for state in self.optimizer.state.values() for x in state.values()]
        return [*self._gradients_of, *(x for x in states if isinstance(x, Tensor))]

    def _check_shapes(self, window: Sequence[MicroBatch]) -> None:
        self._shapes.add((len(window), *(batch.targets.shape for batch in window)))
        if len(self._shapes) > MAX_SHAPES:
            raise ValueError(
                f"compile=True met {len(self._shapes)} shapes of windows, each a graph of its own; "
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


class _Functional:
    """A module called with other parameters and buffers than its own."""

    def __init__(self, module: nn.Module, values: dict[str, Tensor]) -> None:
        self._module, self._values = module, values

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return functional_call(self._module, self._values, arguments, options)


def with_tensors(batch: MicroBatch, device: torch.device) -> MicroBatch:
    """Return a micro-batch whose numbers are tensors, so that none of them is compiled in."""
    nested = {n: v if isinstance(v, Mapping) else {"": v} for n, v in batch.loss_kwargs.items()}
    flat = [batch.tau, *(x for numbers in nested.values() for x in numbers.values())]
    tau, *rest = from_host([float(x) for x in flat], device).unbind()
    tensors = iter(rest)
    filled = {n: {key: next(tensors) for key in numbers} for n, numbers in nested.items()}
    kwargs = {
        n: filled[n] if isinstance(v, Mapping) else filled[n][""]
        for n, v in batch.loss_kwargs.items()
    }
    return MicroBatch(batch.inputs, batch.targets, tau, kwargs)
