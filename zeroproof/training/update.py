"""One optimizer step from a window of micro-batches."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable
from signal import SIGINT, SIGTERM
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zeroproof.training.config import TrainingConfig
from zeroproof.training.ranks import Ranks, whole
from zeroproof.training.scale import LossScale
from zeroproof.training.transfer import Transfer, as_scalar, from_host, to_host


class NonFiniteError(RuntimeError):
    """Too many updates in a row were skipped for a loss or gradient that is not finite."""


class UpdateWindow:
    """The micro-batches that share one optimizer step, and the counters of steps.

    The window's gradient is ``Σ nᵢ∇Lᵢ / Σ nᵢ``: each loss is weighted by its samples relative to
    the first micro-batch's, and the sum divided by the total weight before clipping. A window of
    one is thus left exactly as the loss gives it. Several ranks share a window, and weigh relative
    to the run's first micro-batch of rank 0.

    On CUDA a fused optimizer skips on the device, and the host reads what became of an update
    just before the next one, when it is long there. Other optimizers cannot be told to skip, so
    the host waits for the gradient before it steps them.

    Args:
        optimizer: steps the parameters of its groups, a loss's own included.
        applied: called once per applied update.
        config: accumulation, clipping, mixed precision and tolerance of faults.
        device: where the losses live.
        modules: model and loss, whose gradients are cleared after each window.
        unreduced: parameters whose gradients nobody averages over the ranks, those of the loss.
        ranks: who trains along.
        constant_rate: whether nobody schedules the learning rate.

    Meets: ACC-1, ACC-2, AMP-2, STEP-1, STEP-2, STEP-3, STEP-4, DDP-1.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        applied: Callable[[], None],
        config: TrainingConfig,
        device: torch.device,
        modules: Iterable[nn.Module],
        unreduced: Iterable[nn.Parameter],
        ranks: Ranks,
        *,
        constant_rate: bool,
    ) -> None:
        self.optimizer, self._applied, self._config = optimizer, applied, config
        self._modules, self._unreduced, self._ranks = list(modules), list(unreduced), ranks
        # What GradScaler asks of an optimizer that takes ``found_inf``.
        fused = getattr(optimizer, "_step_supports_amp_scaling", False)
        self.skips_on_device = device.type == "cuda" and fused
        # A number would be compiled in.
        tensor = self.skips_on_device or config.compile
        needs_scale = config.amp and config.autocast_dtype == torch.float16
        self.scale = LossScale(device if tensor else None) if needs_scale else None
        # Such as LBFGS, which evaluates a window several times.
        closure = inspect.signature(optimizer.step).parameters.get("closure")
        self.needs_closure = closure is not None and closure.default is closure.empty
        if self.needs_closure and self.scale is not None:
            raise ValueError(
                f"{type(optimizer).__name__} compares losses, which float16's scale changes; "
                "use amp_dtype='bf16', or mixed_precision=False"
            )
        self.global_step = 0
        self.skipped = 0
        self.skipped_in_row = 0
        self.base_samples = 0
        self.signal: int = 0
        self._rate = self._current_rate()
        self._outcome: Transfer | None = None
        self._pending = False
        self._roots: dict[tuple[float, torch.dtype], Tensor] = {}
        # With rates that change, its first step would be compiled otherwise than the later ones, so
        # that a resumed run could differ in the last bits.
        compiles = config.compile and constant_rate and not self.needs_closure
        self._step = torch.compile(optimizer.step) if compiles else optimizer.step
        self.start()

    def start(self) -> None:
        """Forget the window, and all gradients of model and loss."""
        optimizer, stepped = self.optimizer, self._stepped()
        # Only what an optimizer has of its own need be called; torch's would be profiled, too.
        inherited = type(optimizer).zero_grad is Optimizer.zero_grad
        self._zero_grad = None
        if not inherited or "zero_grad" in vars(optimizer):
            self._zero_grad = optimizer.zero_grad
        known = {id(p) for p in stepped}
        others = [p for module in self._modules for p in module.parameters() if id(p) not in known]
        self._cleared = others if self._zero_grad else [*stepped, *others]
        self._clear()

    def _clear(self) -> None:
        self.micro_batches = 0
        self._samples: Tensor | int = 0
        self._losses: list[Tensor] = []
        self._weighted: list[Tensor] = []
        if self._ranks.size == 1:
            self.base_samples = 0
        if self._zero_grad:
            self._zero_grad(set_to_none=True)
        for parameter in self._cleared:
            parameter.grad = None

    def _current_rate(self) -> Any:
        """Return the learning rate; of a tensor a copy, which a scheduler does not change."""
        rate = self.optimizer.param_groups[0]["lr"]
        return rate.detach().clone() if isinstance(rate, Tensor) else rate

    def _stepped(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def progress(self) -> dict[str, float]:
        """Return the counters, and the latest update's learning rate. Meets: LOG-4."""
        return {"global_step": self.global_step, "skipped": self.skipped, "lr": self._rate}

    @property
    def closed(self) -> int:
        """Number of windows closed, applied or skipped."""
        return self.global_step + self.skipped + self._pending

    @property
    def full(self) -> bool:
        """Whether the window has all of its micro-batches."""
        return self.micro_batches >= self._config.gradient_accumulation_steps

    def unit(self, samples: Tensor | int) -> Tensor | float:
        """Return the factor by which a micro-batch's loss will be scaled in the backward."""
        if not self.base_samples:
            self.base_samples = self._ranks.share(samples)[0]
        weight: Tensor | float = samples / self.base_samples
        if self.scale is None:
            return weight
        # On a GPU each product is one more launch.
        usual = not isinstance(weight, Tensor) and weight == 1
        return self.scale.value if usual else weight * self.scale.value

    def backward(self, loss: Tensor, samples: int) -> None:
        """Add a micro-batch's gradient; ValueError for a loss that has none."""
        if not loss.requires_grad:
            raise ValueError(
                "the loss has no gradient: it does not depend on any parameter that requires one; "
                "unfreeze parameters, or look for a .detach() between model and loss"
            )
        self.micro_batches += 1
        self._samples += samples
        self._losses.append(loss.detach())
        if self.needs_closure:
            self._weighted.append(samples * loss.detach())
        loss.backward(self._root(self.unit(samples), loss))  # type: ignore[no-untyped-call]

    def _root(self, unit: Tensor | float, loss: Tensor) -> Tensor:
        """Return the gradient to begin with, which takes no operation of its own if it is usual."""
        if isinstance(unit, Tensor):
            return unit.to(loss.dtype)
        key = unit, loss.dtype
        if key not in self._roots:
            self._roots = {key: as_scalar(unit, loss)}
        return self._roots[key]

    def step(self, signal: int = 0, again: Callable[[], None] | None = None) -> None:
        """Close the window: apply its update, or skip it where something is not finite.

        The counters show it after :meth:`settle`, which this calls at once where the outcome is
        known; and ``signal`` then is the one that some rank gave here as received. ``again``
        takes the window's micro-batches once more, for an optimizer that needs a closure.
        Raises ValueError where no gradient reached the optimizer.
        """
        self.settle()
        self._rate = self._current_rate()
        pooled = [self._pool(signal)] if self._ranks.size > 1 else []
        results, losses = [*self._normalise(), *self._losses], slice(-len(self._losses), None)
        if self.skips_on_device:
            self._step_on_device(torch.stack(results).abs(), losses, pooled)
            self._clear()
            return
        known = [math.isfinite(x) for x in to_host(results)]
        good, scale_fell = all(known), False
        if good and again is not None:
            good = self._search(again)
        elif good:
            self._step()
        if self.scale is not None:
            scale_fell = bool(self.scale.update(good, all(known[losses]) and not good))
        self._clear()
        self._count(good, scale_fell, *(int(x) for x in pooled))

    def _step_on_device(self, sizes: Tensor, losses: slice, pooled: list[Tensor]) -> None:
        """Step, or skip, without telling the host before it asks; in few launches."""
        applied = sizes.amax() < torch.inf
        skipped = torch.empty((), dtype=torch.float32, device=sizes.device)
        torch.logical_not(applied, out=skipped)
        self.optimizer.found_inf = skipped  # type: ignore[attr-defined]
        self.optimizer.step()
        del self.optimizer.found_inf  # type: ignore[attr-defined]
        outcome = [skipped, *pooled]
        if self.scale is not None:
            outcome.append(self.scale.update(applied, (sizes[losses].amax() < torch.inf) > applied))
        told = torch.stack([x.float() for x in outcome]) if len(outcome) > 1 else skipped.view(1)
        if self._outcome is None:
            self._outcome = Transfer(told)
        else:
            self._outcome.send(told)
        self._pending = True

    def _search(self, again: Callable[[], None]) -> bool:
        """Let the optimizer evaluate the window as often as it likes; undo what is not finite."""
        parameters = self._stepped()
        before = [p.detach().clone() for p in parameters]
        state = copy.deepcopy(self.optimizer.state_dict())
        first = [self._mean_loss()]  # of the evaluation that is there already

        def closure() -> float:
            if first:
                return first.pop()
            self._clear()
            again()
            if self._ranks.size > 1:
                self._pool(0)
            self._normalise()
            return self._mean_loss()

        self.optimizer.step(closure)
        finite = all(bool(torch.isfinite(p).all()) for p in parameters)
        if not finite:
            with torch.no_grad():
                for parameter, value in zip(parameters, before, strict=True):
                    parameter.copy_(value)
            self.optimizer.load_state_dict(state)
        return finite

    def _mean_loss(self) -> float:
        total = self._ranks.sum(torch.stack(self._weighted).sum(dtype=torch.float64))
        return float(total / (self._samples * self._ranks.size))

    def _pool(self, signal: int) -> Tensor:
        """Make samples, faults and the loss's gradients those of all ranks; return the signal."""
        device, size = self._losses[0].device, self._ranks.size
        assert isinstance(self._samples, int)
        tally = from_host([self._samples, 0, signal == SIGINT, signal == SIGTERM], device)
        tally[1] = ~torch.isfinite(torch.stack(self._losses)).all()
        samples, faults, interrupted, terminated = self._ranks.sum(tally)
        self._samples = samples / size
        self._losses = [torch.where(faults > 0, torch.nan, 0.0)]
        for parameter in self._unreduced:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            self._ranks.sum(parameter.grad).div_(size)
        heard = torch.where(terminated > 0, int(SIGTERM), 0)
        return torch.where((terminated == 0) & (interrupted > 0), int(SIGINT), heard).int()

    def _normalise(self) -> list[Tensor]:
        """Unscale, divide by the samples' weight and clip; return norms from before the clipping.

        Of the whole gradient, or of its parts where only their being finite matters.
        """
        parameters = self._stepped()
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            raise ValueError(
                "the loss reaches none of the optimizer's parameters; build the optimizer from "
                "the parameters of this model, or of the loss"
            )
        divisor = self.unit(self._samples)
        if isinstance(divisor, Tensor) or divisor != 1:
            torch._foreach_div_(gradients, divisor)
        limit = self._config.max_grad_norm
        if limit is None:
            return [whole(norm) for norm in torch._foreach_norm(gradients)]
        norm = whole(torch.nn.utils.get_total_norm(gradients))
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return [norm]

    def settle(self) -> None:
        """Count the latest update.

        Raises :class:`NonFiniteError` after ``max_nonfinite_steps`` skips in a row; one that made
        the float16 scale fall does not count. Meets: STEP-2, STEP-3.
        """
        if self._pending and self._outcome is not None:
            self._pending = False
            skipped, *left = self._outcome.read()
            scale_fell = self.scale is not None and bool(left.pop())
            self._count(not skipped, scale_fell, *map(int, left))

    def _count(self, applied: bool, scale_fell: bool, signal: int = 0) -> None:
        self.signal = signal
        if applied:
            self.global_step += 1
            self.skipped_in_row = 0
            self._applied()
            return
        self.skipped += 1
        self.skipped_in_row += not scale_fell
        if self.skipped_in_row >= self._config.max_nonfinite_steps:
            raise NonFiniteError(
                f"{self.skipped_in_row} updates in a row were skipped at global step "
                f"{self.global_step}, because a loss or the gradient's norm was not finite; the "
                "parameters are those of the last applied update. Look for NaN in the inputs, "
                "lower the learning rate, or raise max_nonfinite_steps"
            )
