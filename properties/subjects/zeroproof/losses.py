"""LOSS by ``zeroproof``."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from properties.subjects.tensors import OnTensors
from properties.subjects.zeroproof.unchecked import unchecked
from properties.tensors import measured, to_tensor, within
from spec import Array
from spec.losses import GAMMA, GOAL, TAU, Measured
from spec.training_loss import Options
from zeroproof.losses import (
    LossConfig,
    SCMTrainingLoss,
    chordal_loss,
    implicit_loss,
    margin_loss,
    rejection_loss,
    sign_consistency_loss,
)
from zeroproof.training.targets import lift_targets


def _scalar(x: float | Array) -> float | Tensor:
    return to_tensor(x) if isinstance(x, Array) else x


class ZeroProofLosses(OnTensors):
    """``zeroproof.losses``."""

    again = False
    """Whether gradients are to be differentiated again, so that slopes are not kept."""

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
        # Tensors are made outside autocast, which does not concern how they came to be.
        with torch.autocast("cpu", enabled=False):
            p, q = (to_tensor(x).requires_grad_() for x in (P, Q))
            y_n, y_d = to_tensor(Y_n), to_tensor(Y_d)
            kept = None if mask is None else to_tensor(mask)
        alike = len({x.shape for x in (P, Q, Y_n, Y_d, mask or P)}) == 1
        with nullcontext() if alike else unchecked():
            if name == "margin":
                value = margin_loss(q, tau, mask=within(y_d != 0, kept))
            elif name == "rejection":
                finite = within(y_d != 0, kept)
                value = rejection_loss(p, q, tau, target_coverage=goal, mask=finite)
            elif name == "sign":
                oriented = None if kept is None else within(y_d == 0, kept)
                value = sign_consistency_loss(p, q, y_n, y_d, oriented=oriented)
            elif name == "implicit":
                value = implicit_loss(p, q, y_n, y_d, gamma=gamma, mask=kept)
            else:
                value = chordal_loss(p, q, y_n, y_d, mask=kept)
            return measured(value, p, q, again=self.again)

    def training_loss(
        self, P: Array, Q: Array, y: Array, options: Options
    ) -> tuple[Measured, dict[str, float]]:
        """Return ``SCMTrainingLoss``, and its terms."""
        configured = options["weights"] or {}
        short = {"margin": "lambda_margin", "sign": "lambda_sign", "rejection": "lambda_rej"}
        lambdas = {short[name]: weight for name, weight in configured.items()}
        config = LossConfig(fit=options["fit"], target_coverage=options["goal"], **lambdas)
        p, q = (to_tensor(x).requires_grad_() for x in (P, Q))
        targets = to_tensor(y)
        with nullcontext() if P.shape == y.shape else unchecked():
            total, terms = SCMTrainingLoss(config)(
                (p, q),
                lift_targets(targets),
                tau=_scalar(options["tau"]),
                targets=targets,
                loss_weights={name: _scalar(w) for name, w in options["given"].items()},
            )
        found = measured(total, p, q, again=self.again)
        return found, {name: term.item() for name, term in terms.items()}
