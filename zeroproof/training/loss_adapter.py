"""The user's loss function, called with the keywords that it accepts; what it takes and returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from zeroproof.scm.arcs import Lifted
from zeroproof.training.config import TrainingConfig
from zeroproof.training.state import unwrap
from zeroproof.utils.checks import check_offers, check_weights, describe

OFFERED = ("loss_weights", "epoch", "global_step", "tau", "inputs", "targets")


def _accepted(loss_fn: Callable[..., Any]) -> frozenset[str]:
    """Return the offered names that the loss takes, beside its first two parameters.

    Raises TypeError for a loss that is no callable instance, is one of torch's, or cannot be called
    with outputs and lifted targets.
    """
    check_offers("loss_fn", loss_fn, ("__call__",), "a function, or an instance of a loss")
    function = unwrap(loss_fn).forward if isinstance(loss_fn, nn.Module) else loss_fn
    if getattr(function, "__module__", "") in ("torch.nn.modules.loss", "torch.nn.functional"):
        raise TypeError(
            f"loss_fn must take outputs and lifted targets (Y_n, Y_d), which torch's {loss_fn} "
            "does not; write lambda outputs, lifted, targets: loss(outputs, targets)"
        )
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    positional = [p.name for p in parameters if p.kind < p.VAR_POSITIONAL]
    keywords = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    accepted = frozenset(OFFERED if takes_all else keywords & {*OFFERED}) - {*positional[:2]}
    try:
        signature.bind(None, None, **dict.fromkeys(accepted))
    except TypeError as error:
        raise TypeError(
            "loss_fn is called as loss_fn(outputs, (Y_n, Y_d)), but takes "
            f"({', '.join(signature.parameters)}): {error}; unpack them, as "
            "lambda outputs, lifted: loss(*outputs, *lifted) does"
        ) from None
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
        self._of_epoch: tuple[int | None, dict[str, float]] = None, {}
        weighted = any(x is not None for x in (self._fixed, self._curriculum, self._default))
        if weighted and "loss_weights" not in self.accepted:
            raise ValueError(
                "loss_weights, loss_curriculum or a default_curriculum is set, but loss_fn accepts "
                "no argument 'loss_weights'; add it to the loss, or use "
                "zeroproof.losses.SCMTrainingLoss"
            )

    def weights(self, epoch: int, *, narrows: bool) -> Mapping[str, float] | None:
        """Return an epoch's weights by name; the curriculum's override the fixed ones.

        The curriculum is asked once an epoch. The loss's default curriculum applies only if
        ``narrows``: in epochs of training, not in validations, which compare epochs by one measure.
        """
        if self._of_epoch[0] != epoch:
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
            found["loss_weights"] = dict(weights)  # which a loss may change
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


def checked_result(result: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
    """Return a loss and its terms.

    Raises TypeError for anything but a scalar tensor, alone or with a dict of scalar terms.
    """
    pair = result if isinstance(result, tuple) else (result, {})
    if len(pair) != 2 or not isinstance(pair[1], Mapping):
        raise TypeError(
            "loss_fn must return a scalar tensor, or a pair of one and a dict of terms, got "
            f"{describe(result)}"
        )
    loss, terms = pair
    if not isinstance(loss, Tensor):
        raise TypeError(f"loss_fn must return a scalar tensor, got {describe(loss)}")
    scalars = {name: checked_scalar(f"the term {name!r}", x) for name, x in terms.items()}
    return checked_scalar("the loss", loss), scalars


def checked_scalar(name: str, x: Any) -> Any:
    """Return a number, or a tensor of no dimension; TypeError for anything else."""
    if not isinstance(x, Tensor) and getattr(x, "shape", None) == ():
        x = torch.as_tensor(x)  # of NumPy; torch.compile traces its scalars as arrays
    if isinstance(x, Tensor) and x.numel() == 1 and not x.is_complex():
        x = x if x.is_floating_point() else x.double()  # which float32 might round
        return x.reshape(())
    if isinstance(x, Tensor) or not isinstance(x, Real):
        remedy = "reduce it, as .mean() does, or leave it out"
        raise TypeError(
            f"{name} that loss_fn returns must be a scalar, got {describe(x)}; {remedy}"
        )
    return float(x)
