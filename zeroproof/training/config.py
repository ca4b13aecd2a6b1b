"""The options of training, validated at construction."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zeroproof.autodiff.policies import GradientPolicy
from zeroproof.training.distributed import length
from zeroproof.utils import checks

LogHook = Callable[[dict[str, float]], None]
LossCurriculum = Callable[[int], Mapping[str, float]]

AMP_DTYPES = {
    "fp16": torch.float16,
    "float16": torch.float16,
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
}

TYPES: tuple[tuple[str, Any, str], ...] = (
    ("compile", bool, "True or False"),
    ("progress", bool, "True or False"),
    ("mixed_precision", bool | None, "True, False or None; amp_dtype names the precision"),
    ("use_amp", bool | None, "True, False or None; amp_dtype names the precision"),
    ("log_hook", Callable | None, "callable, or None"),
    ("loss_curriculum", Callable | None, "callable, as a function of the epoch is, or None"),
    ("prepare_batch", Callable | None, "callable, or None"),
    ("scheduler_metric", str | None, "a name, or None"),
    ("checkpoint_dir", str | os.PathLike | None, "a str or a Path, or None"),
    ("extra_state", Mapping | None, "a dict of objects by name, or None"),
)
LEAST = {
    "max_epochs": 1,
    "gradient_accumulation_steps": 1,
    "coverage_patience": 1,
    "seed": 0,
    "max_nonfinite_steps": 1,
    "history_limit": 1,
    "checkpoint_every": 0,
    "keep_checkpoints": 1,
}
"""The least value of each integer."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Options of :class:`~zeroproof.training.trainer.SCMTrainer`.

    Args:
        max_epochs: passes over the loader; ≥ 1.
        gradient_accumulation_steps: micro-batches that share one optimizer step; ≥ 1.
        mixed_precision: run the forward under autocast (AMP-1); None is False.
        use_amp: another name for ``mixed_precision`` (AMP-5).
        amp_dtype: ``torch.float16`` (with a gradient scaler, the default) or ``torch.bfloat16``,
            or a name such as ``"bf16"`` (AMP-2, AMP-4).
        tau_train_min, tau_train_max: ends of the training threshold on ``|Q|`` (TAU-1).
        coverage_threshold: epoch coverage below it is bad; in [0, 1] (STOP-1). The default 0
            never stops.
        coverage_patience: bad epochs in a row that stop training; ≥ 1 (STOP-1).
        log_hook: called with every record, as plain floats (LOG-1); disturbs nothing (LOG-3).
        val_loader: run once an epoch (VAL-1); only inputs can require gradients then (VAL-3).
        prepare_batch: function from what a loader yields to a pair of inputs and targets; None
            takes it as such a pair.
        gradient_policy: policy in force for forwards and where outputs meet the loss (POL-9);
            a member of :class:`~zeroproof.autodiff.policies.GradientPolicy` or its name.
        loss_weights: weights by name, for losses that accept ``loss_weights`` (CUR-1).
        loss_curriculum: function of the epoch that returns weights by name; they override
            ``loss_weights`` (CUR-1).
        device: where to train; None takes that of the model's first parameter.
        seed: seed of the thresholds (TAU-5); ≥ 0.
        max_grad_norm: clip the gradient's norm to it; > 0, None does not clip.
        max_nonfinite_steps: skipped updates in a row that raise an error; ≥ 1 (STEP-3).
        compile: compile with ``torch.compile``, for runs long enough to earn back the time that it
            takes: the whole update, on CUDA replayed as a graph; on several ranks model and
            loss. In compiled code losses get their numbers as tensors (STEP-6).
        scheduler_step: when the scheduler steps: after each applied ``"update"``, after each
            ``"epoch"``, or after each validation (``"val"``).
        scheduler_metric: the validation's value that a ``ReduceLROnPlateau`` gets.
        checkpoint_dir: folder for the checkpoints of one run (RES-7), or None. One is written at
            the end of ``fit``, and on Ctrl-C, SIGTERM and SIGHUP, which are honoured at the next
            update (RES-4, RES-9).
        checkpoint_every: write one also after every so many updates; 0 for never.
        keep_checkpoints: number of checkpoints kept in the folder, the latest; ≥ 1.
        extra_state: objects with ``state_dict`` and ``load_state_dict``, by name, that checkpoints
            hold, too (RES-5, RES-6), such as an average of the weights.
        progress: show a progress bar on the standard error stream.
        history_limit: records kept in memory, the latest; ≥ 1 (LOG-2).

    Raises:
        ValueError: a field outside its range.
        TypeError: a field of the wrong type.

    Meets: AMP-5, STEP-11.
    """

    max_epochs: int = 100
    gradient_accumulation_steps: int = 1
    mixed_precision: bool | None = None
    use_amp: bool | None = None
    amp_dtype: torch.dtype | str | None = None
    tau_train_min: float = 1e-4
    tau_train_max: float = 1e-4
    coverage_threshold: float = 0.0
    coverage_patience: int = 1
    log_hook: LogHook | None = None
    val_loader: Iterable[Any] | None = None
    prepare_batch: Callable[[Any], tuple[Any, Tensor]] | None = None
    gradient_policy: GradientPolicy | str | None = None
    loss_weights: Mapping[str, float] | None = None
    loss_curriculum: LossCurriculum | None = None
    device: torch.device | str | None = None
    seed: int = 0
    max_grad_norm: float | None = None
    max_nonfinite_steps: int = 10
    compile: bool = False
    scheduler_step: str = "update"
    scheduler_metric: str = "val_loss"
    checkpoint_dir: str | os.PathLike[str] | None = None
    checkpoint_every: int = 0
    keep_checkpoints: int = 3
    extra_state: Mapping[str, Any] | None = None
    progress: bool = False
    history_limit: int = 20_000

    def __post_init__(self) -> None:
        for name, kinds, wanted in TYPES:
            checks.check_type(name, getattr(self, name), kinds, wanted)
        for name, number in self._checked_numbers().items():
            object.__setattr__(self, name, number)
        checks.check_offers("log_hook", self.log_hook, (), "a function or an instance, or None")
        if self.val_loader is not None:
            checks.check_loader("val_loader", self.val_loader)
        if self.scheduler_step not in ("update", "epoch", "val"):
            raise ValueError(
                f"scheduler_step must be 'update', 'epoch' or 'val', got {self.scheduler_step!r}"
            )
        if self.scheduler_step == "val" and self.val_loader is None:
            raise ValueError("scheduler_step='val' needs a val_loader")
        for name, stateful in (self.extra_state or {}).items():
            methods = "state_dict", "load_state_dict"
            checks.check_offers(f"extra_state[{name!r}]", stateful, methods, f"what has {methods}")
        if self.checkpoint_every and self.checkpoint_dir is None:
            raise ValueError("checkpoint_every needs a checkpoint_dir to write to")
        self._normalise()

    def _checked_numbers(self) -> dict[str, Any]:
        """Return what holds numbers, as Python's; TypeError or ValueError for what cannot be."""
        names = "tau_train_min", "tau_train_max"
        ends = checks.check_thresholds(self.tau_train_min, self.tau_train_max, names)
        found: dict[str, Any] = dict(zip(names, ends, strict=True))
        for name, least in LEAST.items():
            found[name] = checks.check_integer(name, getattr(self, name), least)
        name, allowed = "coverage_threshold", "[0, 1]"
        found[name] = checks.check_number(name, self.coverage_threshold, allowed)
        if self.max_grad_norm is not None:
            name, allowed = "max_grad_norm", "(0, ∞)"
            found[name] = checks.check_number(name, self.max_grad_norm, allowed)
        if self.loss_weights is not None:
            found["loss_weights"] = checks.check_weights("loss_weights", self.loss_weights)
        return found

    def _normalise(self) -> None:
        """Check the options that have several names or spellings, and settle on one."""
        if self.use_amp is False and self.mixed_precision:
            raise ValueError("mixed_precision=True and use_amp=False disagree; give one of them")
        if self.autocast_dtype not in AMP_DTYPES.values():
            raise ValueError(
                f"amp_dtype must be float16 or bfloat16, got {self.amp_dtype!r}; "
                f"names are {', '.join(AMP_DTYPES)}"
            )
        if self.amp_dtype is not None and self.mixed_precision is None and self.use_amp is None:
            raise ValueError(
                f"amp_dtype={self.amp_dtype!r} has no effect without mixed precision; add "
                "mixed_precision=True, or say mixed_precision=False"
            )
        object.__setattr__(self, "mixed_precision", bool(self.mixed_precision or self.use_amp))
        if self.gradient_policy is not None:
            GradientPolicy.parse(self.gradient_policy)
        if self.device is not None:
            try:
                object.__setattr__(self, "device", torch.device(self.device))
            except (RuntimeError, TypeError) as error:
                raise ValueError(f"device {self.device!r} is unknown: {error}") from None

    def planned_updates(self, loader: Iterable[Any]) -> int | None:
        """Return how many updates a run makes if none is skipped and no stop comes early.

        For schedulers that must know it; None for a loader without a length. Meets: STEP-10.

        Example:
            >>> TrainingConfig(max_epochs=3, gradient_accumulation_steps=2).planned_updates([0] * 5)
            9
        """
        if (batches := length(loader)) is None:
            return None
        return self.max_epochs * -(-batches // self.gradient_accumulation_steps)

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """``amp_dtype`` as a dtype, float16 by default; None for an unknown name."""
        name = torch.float16 if self.amp_dtype is None else self.amp_dtype
        return AMP_DTYPES.get(name) if isinstance(name, str) else name

    @property
    def policy(self) -> GradientPolicy | None:
        """``gradient_policy`` as a member of the enumeration."""
        given = self.gradient_policy
        return None if given is None else GradientPolicy.parse(given)


TrainingConfig.__init__ = checks.explains(  # type: ignore[method-assign]
    learning_rate="it is the optimizer's, as in torch.optim.Adam(model.parameters(), lr=...)"
)(TrainingConfig.__init__)
