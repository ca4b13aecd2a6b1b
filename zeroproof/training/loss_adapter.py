"""The user's loss function, called with the keywords that it accepts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from zeroproof.scm.arcs import Lifted
from zeroproof.training.arguments import check_call, check_loss, checked_result
from zeroproof.training.config import TrainingConfig
from zeroproof.utils.checks import check_weights

OFFERED = ("loss_weights", "epoch", "global_step", "tau", "inputs", "targets")


def _accepted(loss_fn: Callable[..., Any]) -> frozenset[str]:
    """Return the offered names that the loss takes, beside its first two parameters.

    Raises TypeError for a loss that cannot be called with outputs and lifted targets.
    """
    check_loss(loss_fn)
    function = loss_fn.forward if isinstance(loss_fn, nn.Module) else loss_fn
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    positional = [p.name for p in parameters if p.kind < p.VAR_POSITIONAL]
    keywords = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    accepted = frozenset(OFFERED if takes_all else keywords & {*OFFERED}) - {*positional[:2]}
    check_call(signature, accepted)
    return accepted


class LossAdapter:
    """Calls a loss with the keywords that it accepts.

    It is called as ``loss_fn(outputs, (Y_n, Y_d), **accepted)``, and returns a scalar, or a scalar
    and a dict of terms to log; TypeError for another. Configured weights replace, by name, those of
    a loss's own ``default_curriculum(max_epochs)``; ValueError if it accepts none.

    Meets: CUR-1, CUR-3, STEP-13, LOG-5.
    """

    def __init__(self, loss_fn: Callable[..., Any], config: TrainingConfig) -> None:
        self.loss_fn, self.accepted = loss_fn, _accepted(loss_fn)
        self._fixed, self._curriculum = config.loss_weights, config.loss_curriculum
        default = getattr(loss_fn, "default_curriculum", lambda max_epochs: None)
        self._default = default(config.max_epochs)
        self._of_epoch: tuple[int, dict[str, float]] | None = None
        weighted = self._fixed is not None or self._curriculum is not None
        if weighted and "loss_weights" not in self.accepted:
            raise ValueError(
                "loss_weights or loss_curriculum is set, but loss_fn accepts no argument "
                "'loss_weights'; add it to the loss, or use zeroproof.losses.SCMTrainingLoss"
            )

    def weights(self, epoch: int, *, narrows: bool) -> Mapping[str, float] | None:
        """Return an epoch's weights by name; the curriculum's override the fixed ones.

        The curriculum is asked once an epoch. The loss's own one holds where it ``narrows``: in
        epochs of training, but not in validations, which compare epochs by one measure.
        """
        if self._of_epoch is None or self._of_epoch[0] != epoch:
            given = self._curriculum(epoch) if self._curriculum else {}
            given = check_weights("loss_curriculum's weights", given)
            self._of_epoch = epoch, {**(self._fixed or {}), **given}
        if self._default and narrows:
            return {**self._default(epoch), **self._of_epoch[1]}
        return None if self._fixed is None and self._curriculum is None else self._of_epoch[1]

    def kwargs(
        self, tau: float, epoch: int, global_step: Callable[[], int], *, narrows: bool
    ) -> dict[str, Any]:
        """Return the numbers that the loss accepts; the global step is read if it is accepted."""
        offered: dict[str, Any] = {"tau": tau, "epoch": epoch}
        found = {name: number for name, number in offered.items() if name in self.accepted}
        if "global_step" in self.accepted:
            found["global_step"] = global_step()
        if (weights := self.weights(epoch, narrows=narrows)) is not None:
            found["loss_weights"] = weights
        return found

    def __call__(
        self,
        loss_fn: Callable[..., Any],
        outputs: object,
        lifted: Lifted,
        kwargs: Mapping[str, Any],
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Return the loss and its terms."""
        return checked_result(loss_fn(outputs, lifted, **kwargs))
