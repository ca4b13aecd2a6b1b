"""LOSS by ``zeroproof.losses``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from properties.assertions import Unsupported
from properties.subjects.tensors import OnTensors
from properties.tensors import measured, to_tensor, within
from spec import Array
from spec.losses import GAMMA, GOAL, TAU, Measured
from spec.training_loss import Options, number

losses: Any = import_module("zeroproof.losses")
training: Any = import_module("zeroproof.training")


class PublicLosses(OnTensors):
    """The loss functions; there is no chordal loss, and only two of them take a mask."""

    _margin_options: Mapping[str, Any] = {}

    def loss(
        self,
        name: str,
        P: Array,
        Q: Array,
        Y_n: Array,
        Y_d: Array,
        *,
        mask: Array | None = None,
        tau: float = TAU,
        gamma: float = GAMMA,
        goal: float = GOAL,
    ) -> Measured:
        """Return a loss, and its gradients at two leaves."""
        if name == "chordal" or (mask is not None and name not in ("margin", "sign")):
            raise Unsupported(f"the loss {name}" + (" under a mask" if name != "chordal" else ""))
        with torch.autocast("cpu", enabled=False):  # which tensors do not come from
            p, q = (to_tensor(x).requires_grad_() for x in (P, Q))
            y_n, y_d = to_tensor(Y_n), to_tensor(Y_d)
            kept = None if mask is None else to_tensor(mask)
        if name == "implicit":
            value = losses.implicit_loss(p, q, y_n, y_d, gamma=gamma, detach_scale=True)
        elif name == "margin":
            finite = within(y_d != 0, kept)
            value = losses.margin_loss(q, tau_train=tau, mask_finite=finite, **self._margin_options)
        elif name == "sign":
            singular = within(y_d == 0, kept)
            value = losses.sign_consistency_loss(p, q, y_n, y_d, mask_singular=singular)
        else:
            value = losses.rejection_loss(bottoms(p, q, y_d, tau), target_coverage=goal)
        return measured(value, p, q)

    def training_loss(
        self, P: Array, Q: Array, y: Array, options: Options
    ) -> tuple[Measured, dict[str, float]]:
        """Return ``SCMTrainingLoss`` of the implicit loss, and its terms."""
        if options["fit"] != "implicit" or options["given"]:
            raise Unsupported("the chordal loss, and weights given with a call")
        short = {"margin": "lambda_margin", "sign": "lambda_sign", "rejection": "lambda_rej"}
        lambdas = {short[name]: w for name, w in (options["weights"] or {}).items()}
        config = losses.LossConfig(target_coverage=options["goal"], **lambdas)
        p, q = (to_tensor(x).requires_grad_() for x in (P, Q))
        y_n, y_d = training.lift_targets(to_tensor(y))
        tau = number(options["tau"])
        total, terms = losses.SCMTrainingLoss(config)(
            losses.implicit_loss(p, q, y_n, y_d, detach_scale=True),
            *(p, q, y_n, y_d),
            is_bottom=bottoms(p, q, y_d, tau),
            mask_finite=y_d != 0,
            mask_singular=torch.isinf(to_tensor(y)),
            tau_train=tau,
        )
        parts = {name: term.item() for name, term in terms.items() if name != "total"}
        return measured(total, p, q), parts


def bottoms(P: Tensor, Q: Tensor, Y_d: Tensor, tau: float) -> Tensor:
    """Return which samples with finite targets are ⊥: what a caller of the rejection loss tells.

    That ``Q = 0`` is ⊥ is said here, for a threshold of 0 is not one to every version.
    """
    if not P.shape == Q.shape == Y_d.shape:
        raise Unsupported("the rejection loss takes one mask, which has no shape to differ from")
    bottom = (Q == 0) | (Q.abs().double() < tau) | ~P.isfinite() | ~Q.isfinite()
    lost, finite = (by_sample(flags) for flags in (bottom, Y_d != 0))
    return lost.any(dim=1)[finite.all(dim=1)]


def by_sample(x: Tensor) -> Tensor:
    """Return a row of outputs for each sample."""
    return x.flatten(1) if x.dim() > 1 else x.reshape(-1, 1)
