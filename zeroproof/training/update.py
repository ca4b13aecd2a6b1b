"""One optimizer step from a window of micro-batches."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from zeroproof.training.config import TrainingConfig


class NonFiniteError(RuntimeError):
    """Too many updates in a row were skipped for a loss or gradient that is not finite."""


class UpdateWindow:
    """The micro-batches that share one optimizer step, and the counters of steps.

    The window's gradient is ``Σ nᵢ∇Lᵢ / Σ nᵢ``: each loss is weighted by its samples relative to
    the first micro-batch's, and the sum divided by the total weight before clipping. A window of
    one is thus left exactly as the loss gives it.

    Args:
        optimizer: steps the parameters of its groups, a loss's own included.
        scheduler: stepped once per applied update, or None.
        config: accumulation, clipping, mixed precision and tolerance of faults.
        device: where the losses live.
        modules: model and loss, whose gradients are cleared after each window.

    Meets: ACC-1, ACC-2, AMP-2, STEP-1, STEP-2, STEP-3.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        config: TrainingConfig,
        device: torch.device,
        modules: Iterable[nn.Module],
    ) -> None:
        self.optimizer, self.scheduler, self._config = optimizer, scheduler, config
        self._modules = list(modules)
        self._all_finite = torch.ones((), dtype=torch.bool, device=device)
        needs_scaler = config.amp and config.autocast_dtype == torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=needs_scaler)
        self.global_step = 0
        self.skipped = 0
        self.skipped_in_row = 0
        self.clear()

    def clear(self) -> None:
        """Forget the window and its gradients."""
        self.micro_batches = self._samples = self._first_samples = 0
        self._all_finite.fill_(True)
        self.optimizer.zero_grad(set_to_none=True)
        for module in self._modules:
            module.zero_grad(set_to_none=True)

    @property
    def full(self) -> bool:
        """Whether the window has all of its micro-batches."""
        return self.micro_batches >= self._config.gradient_accumulation_steps

    def unit(self, samples: int) -> Tensor | float:
        """Return the factor by which a micro-batch's loss will be scaled in the backward."""
        weight = samples / (self._first_samples or samples)
        if not self.scaler.is_enabled():
            return weight
        scaled = self.scaler.scale(self._all_finite.new_full((), weight, dtype=torch.float32))
        assert isinstance(scaled, Tensor)
        return scaled

    def backward(self, loss: Tensor, samples: int) -> None:
        """Add a micro-batch's gradient; ValueError for a loss that has none."""
        if not loss.requires_grad:
            raise ValueError(
                "the loss has no gradient: it does not depend on any parameter that requires one; "
                "unfreeze parameters, or look for a .detach() between model and loss"
            )
        self._first_samples = self._first_samples or samples
        self.micro_batches += 1
        self._samples += samples
        self._all_finite &= torch.isfinite(loss.detach())
        weight = samples / self._first_samples
        self.scaler.scale(loss if weight == 1 else loss * weight).backward()  # type: ignore[no-untyped-call]

    def step(self) -> bool:
        """Close the window: apply its update, or skip it where something is not finite.

        Returns whether the update was applied. Raises :class:`NonFiniteError` after
        ``max_nonfinite_steps`` counted skips in a row.
        """
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        if all(p.grad is None for p in parameters):
            raise ValueError(
                "the loss reaches none of the optimizer's parameters; build the optimizer from "
                "the parameters of this model, or of the loss"
            )
        self.scaler.unscale_(self.optimizer)
        weight = self._samples / self._first_samples
        if weight != 1:
            for gradient in (p.grad for p in parameters if p.grad is not None):
                gradient.div_(weight)
        limit = self._config.max_grad_norm or math.inf  # an infinite one leaves gradients as is
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        loss_finite, norm_finite = torch.stack(
            [self._all_finite, norm.isfinite().to(self._all_finite.device)]
        ).tolist()
        applied = bool(loss_finite and norm_finite)
        if applied:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.global_step += 1
        counted = not applied and self._skip(scale_at_fault=bool(loss_finite))
        self.clear()
        if applied and self.scheduler is not None:
            self.scheduler.step()
        self.skipped_in_row = 0 if applied else self.skipped_in_row + counted
        if self.skipped_in_row >= self._config.max_nonfinite_steps:
            raise NonFiniteError(
                f"{self.skipped_in_row} updates in a row were skipped at global step "
                f"{self.global_step}, because a loss or the gradient's norm was not finite; the "
                "parameters are those of the last applied update. Look for NaN in the inputs, "
                "lower the learning rate, or raise max_nonfinite_steps"
            )
        return applied

    def _skip(self, scale_at_fault: bool) -> bool:
        """Leave everything as it is, and tell whether the skip counts towards the error.

        A float16 scaler's own skips count only once its scale has fallen to 1. The losses are
        computed in float32, so one that is not finite says nothing about the scale; and a scale
        below 1 would only lose gradients to underflow. Meets: STEP-3.
        """
        self.skipped += 1
        if not self.scaler.is_enabled():
            return True
        scale = self.scaler.get_scale()
        falls = scale_at_fault and scale > 1
        # Set, not left to the scaler: it sees no fault where only the norm overflows.
        backoff = self.scaler.get_backoff_factor() if falls else 1.0
        self.scaler.update(max(scale * backoff, 1.0))
        return not falls
