"""LOSS by ``zeroproof.losses``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from properties.assertions import Unsupported
from properties.subjects.tensors import LAMBDAS, OnTensors, Parts
from properties.tensors import measured, to_tensor, within
from spec import Array
from spec.losses import Measured
from spec.training_loss import Options, number

losses: Any = import_module("zeroproof.losses")
training: Any = import_module("zeroproof.training")


class PublicLosses(OnTensors):
    """The loss functions; there is no chordal loss, and only two of them take a mask."""

    _margin_options: Mapping[str, Any] = {}

    def _loss(
        self, name: str, case: Parts, mask: Tensor | None, tau: float, gamma: float, goal: float
    ) -> Any:
        P, Q, _, Y_d = case
        if name == "chordal" or (mask is not None and name not in ("margin", "sign")):
            raise Unsupported(f"the loss {name}" + (" under a mask" if name != "chordal" else ""))
        if name == "implicit":
            return losses.implicit_loss(*case, gamma=gamma, detach_scale=True)
        if name == "margin":
            finite = within(Y_d != 0, mask)
            return losses.margin_loss(Q, tau_train=tau, mask_finite=finite, **self._margin_options)
        if name == "sign":
            return losses.sign_consistency_loss(*case, mask_singular=within(Y_d == 0, mask))
        return losses.rejection_loss(bottoms(P, Q, Y_d, tau), target_coverage=goal)

    def training_loss(
        self, P: Array, Q: Array, y: Array, options: Options
    ) -> tuple[Measured, dict[str, float]]:
        """Return ``SCMTrainingLoss`` of the implicit loss, and its terms."""
        if options["fit"] != "implicit" or options["given"] or options.get("bare"):
            raise Unsupported("the chordal loss, and weights given with a call, or no targets")
        lambdas = {LAMBDAS[name]: w for name, w in (options["weights"] or {}).items()}
        config = losses.LossConfig(target_coverage=options["goal"], **lambdas)
        p, q = (to_tensor(x).requires_grad_() for x in (P, Q))
        y_n, y_d = training.lift_targets(to_tensor(y))
        tau = number(options["tau"])
        fit = losses.implicit_loss(p, q, y_n, y_d, detach_scale=True)
        like = p.detach() + y_d  # of their common shape, if it took two
        total, terms = losses.SCMTrainingLoss(config)(
            fit,
            *(p, q, y_n, y_d),
            is_bottom=bottoms(p.expand_as(like), q.expand_as(like), y_d.expand_as(like), tau),
            mask_finite=y_d != 0,
            mask_singular=torch.isinf(to_tensor(y)),
            tau_train=tau,
        )
        parts = {name: term.item() for name, term in terms.items() if name != "total"}
        return measured(total, p, q), parts


def bottoms(P: Tensor, Q: Tensor, Y_d: Tensor, tau: float) -> Tensor:
    """Return which samples with finite targets are ⊥: what a caller of the rejection loss tells.

    What is ⊥ at any threshold is said here, for a threshold of 0 is not one to every version.
    """
    if not P.shape == Q.shape == Y_d.shape:
        raise Unsupported("the rejection loss takes one mask, which has no shape to differ from")
    quotient = P / Q.to(torch.promote_types(Q.dtype, torch.float32))
    bottom = ~quotient.isfinite() | ~Q.isfinite() | (Q.abs().double() < tau)
    lost, finite = (by_sample(flags) for flags in (bottom, Y_d != 0))
    return lost.any(dim=1)[finite.all(dim=1)]


def by_sample(x: Tensor) -> Tensor:
    """Return a row of outputs for each sample."""
    return x.flatten(1) if x.dim() > 1 else x.reshape(-1, 1)
