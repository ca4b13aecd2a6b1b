"""``compile=True``: the whole update as one graph; on several ranks the loss alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from zeroproof.autodiff.policies import get_grad_scale, traced_setting
from zeroproof.training.captured import Captured, Row, pack, unpack
from zeroproof.training.compiling import compiled
from zeroproof.training.evaluation import Evaluation, MicroBatch, undone
from zeroproof.training.finite import is_own
from zeroproof.training.optimizers import current_rate, fixed_options
from zeroproof.training.records import one_form
from zeroproof.training.transfer import AsyncHostCopy, from_host
from zeroproof.training.update import Header, Outcome, Update

REPLAYED = ("cuda",)
"""Types of devices on which a graph is captured, and replayed."""
PLAIN = (bool, int, float, str)


class CompiledUpdate(Update):
    """An :class:`~zeroproof.training.update.Update` in one graph: forward, backward, step.

    The optimizer's state must exist before it is traced, so updates are eager until one is
    applied, also after a parameter is frozen or unfrozen. Numbers that change enter as tensors:
    thresholds, loss arguments, learning rates.

    Meets: STEP-6.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.free_parameters():
            raise ValueError(
                "compile=True differentiates parameters of the model and of a loss that is an "
                "nn.Module; the optimizer has others. Register them in one of the two"
            )
        if self._needs_closure:
            name = type(self.optimizer).__name__
            raise ValueError(f"compile=True cannot trace {name}, whose step takes a closure")
        # Without the hooks around a step, which cannot be traced.
        self._step = inspect.unwrap(type(self.optimizer).step)
        device = self.evaluate.device
        self._gradients_of: dict[nn.Parameter, Tensor] = {}
        self._trained, self._eager_at = [p.requires_grad for p in self.parameters()], 0
        # The largest ``|loss|`` of the window so far, NaN if any is. It has one dimension, since
        # torch.compile would trace all again for a scalar.
        self._size = torch.zeros(1, dtype=torch.float64, device=device)
        self._numbers, self._prepared, self._rates = torch.empty(0), object(), tuple[Tensor, ...]()
        self._options = fixed_options(self.optimizer)
        self._replays = device.type in REPLAYED
        self._compiled = self._compile()

    def _compile(self) -> Callable[..., Row]:
        # A function for each place in a window, since torch.compile limits the graphs of one.
        device, places = self.evaluate.device, product((False, True), repeat=2)
        method = self._update_in_graph
        graphs = {place: compiled(method, device, fullgraph=True) for place in places}

        def function(batch: MicroBatch, numbers: Tensor, *place: bool) -> Row:
            row: Row = graphs[place](batch, numbers, *place)
            return row

        return Captured(function, self._fixed) if self._replays else function

    def _run(self, window: Sequence[MicroBatch], headers: list[Header], signal: int) -> Outcome:
        self._check_options()
        if self._has_no_state():
            return super()._run(window, headers, signal)
        self._buffers.keep()
        self._prepare(window[0])
        rows, several, all_names = list[Tensor](), len(window) > 1, set[tuple[str, ...]]()
        for part, weight in zip(window, self._weights(window), strict=True):
            batch, numbers = pack(part, weight)
            self.settle()  # late, while the device works; a scheduler may now change the rate
            rate = current_rate(self.optimizer)
            with self._sent(numbers):
                place = part is window[0], part is window[-1]
                row, names = self._compiled(batch, self._numbers, *place)
            self.begun, self.unmade = True, 0 if part is window[-1] else self.unmade
            rows.append(row.clone() if several else row)
            all_names.add(names)
        values = AsyncHostCopy(torch.cat(rows) if several else row)
        return Outcome(values, one_form(all_names), headers, rate)

    def _has_no_state(self) -> bool:
        """Tell whether a parameter's state is still to be made, by an eager update."""
        trained = [p.requires_grad for p in self.parameters()]
        if trained != self._trained:
            self.settle()
            self._trained, self._gradients_of, self._prepared = trained, {}, object()
            self._compiled = self._compile()
            self._eager_at, self.skips_on_device = self.global_step, False
        return self.global_step == self._eager_at

    def _prepare(self, batch: MicroBatch) -> None:
        """Allocate the gradients that the graph writes to, and prepare the optimizer's state."""
        if not self._gradients_of:
            self.skips_on_device = self._replays
            self._gradients_of = {p: torch.zeros_like(p) for p in self._reached(batch)}
        if self._prepared is not self.optimizer.state:  # which loading replaces
            self._prepared = self.optimizer.state
            self._prepare_states()
        for parameter, gradient in self._gradients_of.items():
            parameter.grad = gradient

    def _update_in_graph(self, batch: MicroBatch, numbers: Tensor, first: bool, last: bool) -> Row:
        """Add a micro-batch's gradient; at the last one of a window, make the step, too.

        Returns the row, which ends with the flags of the step, and its names.
        """
        loss, names, row, gradients = self._differentiate(*unpack(batch, numbers))
        for parameter, gradient in zip(self._gradients_of, gradients, strict=True):
            assert parameter.grad is not None
            parameter.grad.copy_(gradient if first else parameter.grad + gradient)
        size = loss.detach().abs().double()
        self._size.copy_(size if first else torch.maximum(self._size, size))
        return self._finish(row) if last else row, names

    def _finish(self, row: Tensor) -> Tensor:
        """Make the step, undo it if the gradient is not finite, and return row and flags."""
        flags = self._judge(self._normalise(), [self._size[0]])
        states = self._states()
        before = [state.clone() for state in states]
        with torch.no_grad():
            self._step(self.optimizer)
            for state, old in zip(states, before, strict=True):
                state.copy_(torch.where(flags[0] > 0, state, old))
            self._buffers.restore(flags[0] > 0)
        return torch.cat([row, flags])

    def _differentiate(
        self, batch: MicroBatch, weight: Tensor
    ) -> tuple[Tensor, tuple[str, ...], Tensor, list[Tensor]]:
        """Return loss, names and row of a micro-batch, and its share of the gradient."""
        scale = weight if self.scale is None else self.scale.value * weight
        trained = [p.detach() for p in self._gradients_of]
        names: list[str] = []
        scaled = partial(self._scaled_loss, batch=batch, scale=scale, names=names)
        gradients, (_, (loss, row, buffers)) = grad_and_value(scaled, has_aux=True)(trained)
        for module, written in zip(self._modules, buffers, strict=True):
            for name, buffer in module.named_buffers():
                if is_own(buffer):
                    buffer.copy_(written[name])
        return loss, tuple(names), row, gradients

    def _scaled_loss(
        self, values: list[Tensor], batch: MicroBatch, scale: Any, names: list[str]
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Any]]:
        """Return the loss at these values of the parameters; append the row's names."""
        value_of = dict(zip(self._gradients_of, values, strict=True))
        inside = torch.zeros_like(values[0]).sum()
        replaced = []
        for module in self._modules:
            own = {n: value_of[p] for n, p in module.named_parameters() if p in value_of}
            # Added to what is differentiated, a buffer can be written in place.
            written = {n: b + inside.to(b.dtype) for n, b in module.named_buffers()}
            replaced.append(own | written)
        with traced_setting(self.evaluate.policy, scale):
            loss, found, row = self.evaluate(batch, replaced)
        names += found
        return loss * scale, (loss, row, replaced)  # which holds the forward's new buffers

    def _reached(self, batch: MicroBatch) -> list[nn.Parameter]:
        """Return the parameters that the loss reaches; the optimizer leaves the others alone."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        with undone(self._modules, None):  # with the random states
            loss, _, _ = self.evaluate(batch)
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
        if any(gradient is not None and gradient.is_sparse for gradient in found):
            raise ValueError(
                "compile=True cannot trace sparse gradients; give the embedding sparse=False, and "
                "an optimizer of dense gradients"
            )
        return [p for p, gradient in zip(parameters, found, strict=True) if gradient is not None]

    def clear_gradients(self) -> None:
        """Clear the gradients, all of which model and loss own."""
        for parameter in self._owned:
            parameter.grad = None

    def _states(self) -> list[Tensor]:
        states = [x for state in self.optimizer.state.values() for x in state.values()]
        return [*self._gradients_of, *(x for x in states if isinstance(x, Tensor))]

    def _fixed(self) -> tuple[Hashable, ...]:
        """Return what a captured graph depends on beside its arguments."""
        plain = (x for owner in self._owners for x in owner.values() if type(x) in PLAIN)
        tensors = (self._numbers, *self._fixed_tensors)
        return (*(x.data_ptr() for x in tensors), *plain)

    def _prepare_states(self) -> None:
        """Move counts from the CPU to a GPU; refuse 0-d tensors of float64.

        torch.compile does not write them back (torch 2.13).
        """
        if self._replays:
            for state in self.optimizer.state.values():
                tensors = {k: x for k, x in state.items() if isinstance(x, Tensor)}
                state.update({k: x.to(self.evaluate.device) for k, x in tensors.items()})
        if any(x.dim() == 0 and x.dtype == torch.float64 for x in self._states()):
            raise ValueError(
                "compile=True cannot train float64 parameters without a dimension, nor step counts "
                "in float64 (torch.set_default_dtype); give them a dimension, or use float32"
            )
        loss = self.evaluate.loss.loss_fn
        owners = [getattr(loss, "__self__", loss), *(m for x in self._modules for m in x.modules())]
        self._owners = [vars(owner) for owner in owners if hasattr(owner, "__dict__")]
        buffers = [x for module in self._modules for x in module.buffers()]
        scale = [] if self.scale is None else [self.scale.value, self.scale.streak]
        self._fixed_tensors = [*self._states(), *self._gradients_of.values(), *buffers, *scale]

    def _check_options(self) -> None:
        """Refuse options other than the rate that change: each value needs a new graph."""
        options = fixed_options(self.optimizer)
        if options == self._options:
            return
        if self._prepared is self.optimizer.state:  # which loading replaces, as it may the options
            changed = {n for (i, n), x in options.items() if x != self._options.get((i, n))}
            raise ValueError(
                "compile=True compiles in what an optimizer's groups hold beside their rates, and "
                f"{changed} changed; give a scheduler cycle_momentum=False, or use compile=False"
            )
        self._options, self._compiled = options, self._compile()

    @contextmanager
    def _sent(self, numbers: list[float]) -> Iterator[None]:
        """Let the graph read numbers, and learning rates, which may change without a new graph."""
        groups = [g for g in self.optimizer.param_groups if g.get("lr") is not None]
        device = self.evaluate.device
        # The graph fuses the step itself, and counts where it is replayed.
        traced = {"capturable": self._replays, "fused": False}
        kept = [{name: g[name] for name in ("lr", *traced) if name in g} for g in groups]
        rates = [group["lr"] for group in groups]
        numbers = [*numbers, *(0.0 if isinstance(rate, Tensor) else rate for rate in rates)]
        if len(self._numbers) != len(numbers):
            self._numbers = torch.empty(len(numbers), dtype=torch.float64, device=device)
            # On the CPU of one dimension: without, torch.compile would trace all twice.
            form = (-1, 1) if device.type == "cpu" else (-1,)
            self._rates = self._numbers[len(numbers) - len(groups) :].view(form).unbind()
        self._numbers.copy_(torch.tensor(numbers, dtype=torch.float64), non_blocking=True)
        for group, rate, own in zip(groups, rates, self._rates, strict=True):
            group["lr"] = own.copy_(rate) if isinstance(rate, Tensor) else own
            group.update({name: value for name, value in traced.items() if name in group})
        try:
            yield
        finally:
            for group, own_options in zip(groups, kept, strict=True):
                group.update(own_options)


class CompiledEvaluation(Evaluation):
    """An :class:`~zeroproof.training.evaluation.Evaluation` in one graph, for an eager update.

    For several ranks, whose gradients a wrapper reduces in the backward.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._compiled = compiled(self._in_graph, self.device)

    def __call__(
        self, batch: MicroBatch, replaced: Sequence[dict[str, Tensor]] = ()
    ) -> tuple[Tensor, tuple[str, ...], Tensor]:
        """Return the loss, and a row of measures and scalars with their names."""
        found: tuple[Tensor, tuple[str, ...], Tensor]
        scale, (batch, numbers) = get_grad_scale(), pack(batch, 1.0)  # on ranks the device has it
        if not isinstance(scale, Tensor):
            scale = from_host([scale], self.device)[0]
        found = self._compiled(batch, from_host(numbers, self.device), scale)
        return found

    def _in_graph(
        self, batch: MicroBatch, numbers: Tensor, scale: Tensor
    ) -> tuple[Tensor, tuple[str, ...], Tensor]:
        batch, _ = unpack(batch, numbers)
        with traced_setting(self.policy, scale):
            return super().__call__(batch)
