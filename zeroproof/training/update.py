"""One update: a window of micro-batches, one optimizer step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.optim import Optimizer

from zeroproof.autodiff.policies import grad_scale
from zeroproof.training import finite
from zeroproof.training.config import TrainingConfig
from zeroproof.training.distributed import Ranks, full_tensor
from zeroproof.training.evaluation import Evaluation, MicroBatch
from zeroproof.training.optimizers import copy_values, current_rate, needs_closure
from zeroproof.training.records import RecordQueue, named_rows, one_form
from zeroproof.training.scaler import LossScale
from zeroproof.training.targets import ends
from zeroproof.training.transfer import AsyncHostCopy, from_host

Header = dict[str, float]
"""What a record takes from the host, which is epoch, micro_step and tau_train."""


class Outcome(NamedTuple):
    """What the device returns of an update: a row per rank and micro-batch, then three flags."""

    values: AsyncHostCopy
    names: tuple[str, ...]
    headers: list[Header]
    rate: float | Tensor


class Update:
    """Makes updates, counts them, and turns their rows into records.

    The window's gradient is ``Σ nᵢ∇Lᵢ / Σ nᵢ``, over all ranks: each loss is scaled before its
    backward. An update whose losses or gradient are not finite is skipped. On CUDA a fused
    optimizer skips on the device, and the skip flag is read one update late, so the host never
    syncs. Other optimizers cannot skip, so the host waits for the gradient before it steps them.

    Args:
        optimizer: steps the parameters of its groups, a loss's own included.
        evaluate: from a micro-batch to its loss and row.
        config: clipping, mixed precision and tolerance of faults.
        modules: model and loss, whose gradients are cleared after each window.
        ranks: the ranks that share each window.
        records: the queue that gets a record per micro-batch.
        applied: called once per applied update.

    Meets: ACC-1, ACC-2, AMP-2, STEP-1 to STEP-4, STEP-8, STEP-9, STEP-14, DDP-1, LOG-4.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        evaluate: Evaluation,
        config: TrainingConfig,
        modules: Sequence[nn.Module],
        ranks: Ranks,
        records: RecordQueue,
        applied: Callable[[], None],
    ) -> None:
        self.optimizer, self.evaluate, self._config = optimizer, evaluate, config
        self._modules, self._ranks, self._records = modules, ranks, records
        self._applied, self._frozen = applied, ranks.frozen(modules[0])
        self._owned = [p for module in modules for p in module.parameters()]
        self._stepped = finite.SteppedParameters(optimizer, modules)
        self._buffers = finite.KeptBuffers(modules)
        fused = getattr(optimizer, "_step_supports_amp_scaling", False)  # and takes ``found_inf``
        self.skips_on_device = evaluate.device.type == "cuda" and fused
        fp16 = config.mixed_precision and config.autocast_dtype == torch.float16
        self.scale = LossScale(evaluate.device) if fp16 else None
        self._needs_closure = needs_closure(optimizer)
        if self._needs_closure and fp16:
            raise ValueError(
                f"{type(optimizer).__name__} compares losses, which float16's scale changes; "
                "use amp_dtype='bf16', or mixed_precision=False"
            )
        self.global_step = self.skipped = self.skipped_in_row = self.faults = self.signal = 0
        self.unmade, self.begun = 0, False  # micro-batches without a step; whether in an update
        self._outcome: Outcome | None = None
        self.clear_gradients()

    def __call__(self, window: Sequence[MicroBatch], headers: list[Header], signal: int) -> None:
        """Make the update of a window; ``signal`` is the one that this rank has received.

        Raises:
            ValueError: a loss without a gradient, or one that reaches no parameter.
            NonFiniteError: too many updates in a row were skipped.
        """
        self.unmade = len(window)
        try:
            self._outcome, self.begun = self._run(window, headers, signal), False
        except BaseException:
            self._buffers.restore()  # where they are infinite or NaN
            raise
        finally:
            self.clear_gradients()
        if self.skips_on_device:
            self._records.deliver()
        else:
            self.flush()

    def flush(self) -> None:
        """Count the last update and deliver all records."""
        try:
            self.settle()
        finally:
            self._records.deliver()

    def _run(self, window: Sequence[MicroBatch], headers: list[Header], signal: int) -> Outcome:
        self._buffers.keep()
        losses, names, rows = self._gradients(window)
        judged, received = self._ranks.reduce_window(losses, signal, self.unwrapped)
        flags = self._judge(self._normalise(), judged, received)
        rows = self._ranks.all_gather(torch.cat(rows))
        values = AsyncHostCopy(torch.cat([*rows, flags]))
        self.settle()
        rate = current_rate(self.optimizer)
        applied = flags[0] > 0 if self.skips_on_device else bool(values.read()[-3])
        self._buffers.restore(applied)
        self.unmade = 0
        if self.skips_on_device:
            self.optimizer.found_inf = (flags[0] == 0).float()  # type: ignore[attr-defined]
            try:
                self.optimizer.step()
            finally:
                del self.optimizer.found_inf  # type: ignore[attr-defined]
        elif applied:
            if not self._needs_closure:
                self.optimizer.step()
            elif not self._search(window, losses):
                flags[0] = 0
                values = AsyncHostCopy(torch.cat([*rows, flags]))
        return Outcome(values, names, headers, rate)

    def _judge(
        self, norms: Sequence[Tensor], losses: Sequence[Tensor], received: Tensor | None = None
    ) -> Shaped[Tensor, "3"]:
        """Adapt the float16 scale; return three flags: all finite, the scale fell, the signal."""
        sizes, largest = torch.stack([*norms, *losses]), torch.linalg.vector_norm
        applied = largest(sizes, torch.inf) < torch.inf  # NaN is not
        fell = nothing = torch.zeros_like(applied)
        if self.scale is not None:
            overflow = (largest(sizes[-len(losses) :], torch.inf) < torch.inf) & ~applied
            fell = self.scale.update(applied, overflow)
        return torch.stack([applied, fell, nothing if received is None else received])

    def _gradients(
        self, window: Sequence[MicroBatch]
    ) -> tuple[list[Tensor], tuple[str, ...], list[Tensor]]:
        """Run the forwards and backwards; return losses, names and rows."""
        losses, rows, all_names, self.begun = [], [], set[tuple[str, ...]](), True
        for batch, weight in zip(window, self._weights(window), strict=True):
            factor: float | Tensor = weight if self.scale is None else self.scale.value * weight
            last = batch is window[-1]
            with self._ranks.reduction(self.evaluate.model, last=last), grad_scale(factor):
                loss, names, row = self.evaluate(batch)
                if not loss.requires_grad:
                    raise ValueError(
                        "the loss has no gradient: it does not depend on any parameter that "
                        "requires one; unfreeze parameters, or look for a .detach() between "
                        "model and loss, or a torch.no_grad() around the run"
                    )
                (loss * factor).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            rows.append(row)
            all_names.add(names)
        return losses, one_form(all_names), rows

    def _weights(self, window: Sequence[MicroBatch]) -> list[float | Tensor]:
        samples = [len(ends(batch.targets)[0]) for batch in window]
        if self._ranks.size == 1:
            return [n / sum(samples) for n in samples]
        # The ranks' gradients are averaged, not added.
        total = self._ranks.all_reduce(from_host([sum(samples)], self.evaluate.device)[0])
        return [n * self._ranks.size / total for n in samples]

    def _normalise(self) -> list[Tensor]:
        """Unscale and clip; return the norm before clipping, without it each parameter's."""
        parameters = self.parameters()
        gradients = [finite.gradient_values(p) for p in parameters if p.grad is not None]
        if not gradients:
            raise ValueError(
                "the loss reaches none of the optimizer's parameters; build the optimizer from "
                "the parameters of this model, or of the loss"
            )
        if self.scale is not None:
            torch._foreach_div_(gradients, self.scale.value)
        dtype = reduce(torch.promote_types, {x.dtype for x in gradients}, torch.float32)
        if torch.compiler.is_compiling():  # into which foreach norms do not fuse
            norms = [x.to(dtype).square().sum().sqrt() for x in gradients]
        else:
            wide = None if dtype.is_complex else dtype  # for norms beyond half precision
            norms = [full_tensor(x) for x in torch._foreach_norm(gradients, 2, wide)]
        if (limit := self._config.max_grad_norm) is None:
            return norms
        norm = torch.stack(norms).square().sum().sqrt()
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return [norm]

    def _search(self, window: Sequence[MicroBatch], losses: list[Tensor]) -> bool:
        """Let the optimizer evaluate the window as often as it likes; undo what is not finite."""
        parameters, state = self.parameters(), copy.deepcopy(self.optimizer.state_dict())
        before = [p.detach().clone() for p in parameters]
        first = [self._mean_loss(window, losses)]  # of the gradient that is there already

        def versions() -> list[int | None]:
            tensors = (x for p in parameters for x in (p, p.grad))
            return [None if x is None else x._version for x in tensors]

        at_first = versions()

        def reevaluate_window() -> float:
            known = [first.pop()] if first else []
            if known and versions() == at_first:
                return known[0]
            self.clear_gradients()
            losses, _, _ = self._gradients(window)
            self._ranks.reduce_window(losses, 0, self.unwrapped)
            self._normalise()
            return self._mean_loss(window, losses)

        self.optimizer.step(reevaluate_window)
        self._buffers.restore()  # which any of the evaluations may have made infinite or NaN
        if not self._stepped.fault():
            return True
        copy_values(parameters, before)
        self.optimizer.load_state_dict(state)
        return False

    def _mean_loss(self, window: Sequence[MicroBatch], losses: list[Tensor]) -> float:
        parts = zip(losses, self._weights(window), strict=True)
        total = torch.stack([loss.double() * weight for loss, weight in parts]).sum()
        return float(self._ranks.all_reduce(total)) / self._ranks.size

    def settle(self) -> None:
        """Read whether the last step was applied, count it, and queue its records.

        Raises NonFiniteError after ``max_nonfinite_steps`` skips in a row; one that made
        the float16 scale fall does not count. Meets: STEP-2, STEP-3.
        """
        if self._outcome is None:
            return
        (copied, names, headers, rate), self._outcome = self._outcome, None
        *values, applied, fell, signal = copied.read()
        self.signal = int(signal)
        self.global_step += bool(applied)
        self.skipped += not applied
        self.faults += not (applied or fell)
        self.skipped_in_row = 0 if applied else self.skipped_in_row + (not fell)
        if applied:
            self._applied()
        progress = {"global_step": self.global_step, "skipped": self.skipped, "lr": float(rate)}
        rows = named_rows(names, values)
        for index, header in enumerate(headers):
            self._records.add({**header, **progress}, rows[index :: len(headers)])
        if self.skipped_in_row >= self._config.max_nonfinite_steps:
            cause = self._stepped.fault() or finite.STILL_FINITE
            raise finite.NonFiniteError(
                f"{self.skipped_in_row} updates in a row were skipped at global step "
                f"{self.global_step}, because a loss or the gradient's norm was not finite; {cause}"
            )

    def check_finite(self) -> None:
        """Settle; raise NonFiniteError if a step made a parameter of any rank not finite."""
        self.settle()
        if fault := max(self._ranks.all_gather_object(self._stepped.fault())):
            raise finite.NonFiniteError(f"at global step {self.global_step}, {fault}")

    @property
    def windows(self) -> int:
        """Number of windows trained on, applied or skipped."""
        return self.global_step + self.skipped + (self._outcome is not None)

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the optimizer steps."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def free_parameters(self) -> list[nn.Parameter]:
        """Return those of them that neither model nor loss owns."""
        owned = set(map(id, self._owned))
        return [p for p in self.parameters() if id(p) not in owned]

    def unwrapped(self) -> list[nn.Parameter]:
        """Return the parameters that no wrapper of the model gives to all ranks."""
        losses = (p for module in self._modules[1:] for p in module.parameters())
        return [*losses, *self.free_parameters(), *self._frozen]

    def clear_gradients(self) -> None:
        """Clear the gradients of optimizer, model and loss."""
        self.optimizer.zero_grad()
        for parameter in self._owned:
            parameter.grad = None
