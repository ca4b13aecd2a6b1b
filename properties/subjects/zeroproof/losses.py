"""LOSS by ``zeroproof``."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from properties.subjects.tensors import LAMBDAS, OnTensors, Parts
from properties.subjects.zeroproof.unchecked import unchecked
from properties.tensors import measured, to_array, to_tensor, within
from spec import Array
from spec.losses import GAMMA, GOAL, TAU, Case, Measured
from spec.training_loss import Options, number
from zeroproof.losses import (
    LossConfig,
    SCMTrainingLoss,
    chordal_loss,
    implicit_loss,
    margin_loss,
    rejection_loss,
    sign_consistency_loss,
    squares_loss,
)
from zeroproof.training.targets import lift_targets


def _scalar(x: float | Array) -> float | Tensor:
    return to_tensor(x) if isinstance(x, Array) else x


class ZeroProofLosses(OnTensors):
    """``zeroproof.losses``."""

    def _loss(
        self, name: str, case: Parts, mask: Tensor | None, tau: float, gamma: float, goal: float
    ) -> Tensor:
        P, Q, _, Y_d = case
        same_shape = len({x.shape for x in (*case, P if mask is None else mask)}) == 1
        with nullcontext() if same_shape else unchecked():
            if name == "margin":
                return margin_loss(Q, tau, mask=within(Y_d != 0, mask))
            if name == "rejection":
                whole = mask is None and same_shape and bool((Y_d != 0).all())
                finite = None if whole else within(Y_d != 0, mask)
                return rejection_loss(P, Q, tau, target_coverage=goal, mask=finite)
            if name == "sign":
                oriented = None if mask is None else within(Y_d == 0, mask)
                return sign_consistency_loss(*case, oriented=oriented)
            if name == "implicit":
                return implicit_loss(*case, gamma=gamma, mask=mask)
            return chordal_loss(*case, mask=mask)

    def squares(self, *case: Array, tau: float, mask: Array | None = None) -> Measured:
        P, Q, Y_n, Y_d = map(to_tensor, case)
        kept = None if mask is None else to_tensor(mask)
        with unchecked():  # of shapes that differ
            value = squares_loss(
                P.requires_grad_(), Q.requires_grad_(), Y_n, Y_d, tau=tau, mask=kept
            )
        return measured(value, P, Q, again=self._again)

    def training_loss(
        self, P: Array, Q: Array, y: Array, options: Options
    ) -> tuple[Measured, dict[str, float]]:
        lambdas = {LAMBDAS[name]: w for name, w in (options["weights"] or {}).items()}
        bare = options.get("bare", False)
        tau = {"tau_train": number(options["tau"])} if bare else {}
        config = LossConfig(fit=options["fit"], target_coverage=options["goal"], **lambdas, **tau)
        p, q = (to_tensor(x).requires_grad_() for x in (P, Q))
        targets = to_tensor(y)
        with nullcontext() if P.shape == y.shape else unchecked():
            total, terms = SCMTrainingLoss(config)(
                (p, q),
                lift_targets(targets),
                tau=None if bare else _scalar(options["tau"]),
                targets=None if bare else targets,
                loss_weights={name: _scalar(w) for name, w in options["given"].items()},
            )
        found = measured(total, p, q, again=self._again)
        return found, {name: term.item() for name, term in terms.items()}

    def variable(self, part: str, name: str) -> None:
        parts = "P", "Q", "numerators", "denominators"
        case: Any = [torch.ones(2, requires_grad=part == name) for name in parts]
        tau: Any = torch.tensor(TAU, requires_grad=part == "tau")
        if name == "training":
            weights = {"sign": torch.tensor(1.0, requires_grad=part == "weights")}
            SCMTrainingLoss()(tuple(case[:2]), tuple(case[2:]), tau=tau, loss_weights=weights)
        elif name == "squares":
            squares_loss(*case, tau=tau)
        else:
            self._loss(name, case, None, tau, GAMMA, GOAL)

    def growth(self, name: str, case: Case) -> Measured:
        """Differentiate the backward by a second one, and forwards; NaN is where they differ.

        All is NaN if forwards the loss changes along its tuples.
        """
        P, Q, Y_n, Y_d = map(to_tensor, case)
        leaves = P.requires_grad_(), Q.requires_grad_()
        value = self._loss(name, (P, Q, Y_n, Y_d), None, TAU, GAMMA, GOAL)
        slopes = torch.autograd.grad(value, leaves, create_graph=True)
        found = torch.autograd.grad(slopes, leaves, leaves)

        with warnings.catch_warnings(), forward_ad.dual_level():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch imports deprecated code
            make: Any = forward_ad.make_dual
            unpack: Any = forward_ad.unpack_dual
            p, q = (make(x, x.detach()) for x in leaves)
            value = self._loss(name, (p, q, Y_n, Y_d), None, TAU, GAMMA, GOAL)
            duals = map(unpack, torch.autograd.grad(value, (p, q)))
            pairs = [(x, dual.tangent) for x, dual in zip(found, duals, strict=True)]
            rise = unpack(value).tangent
        if rise is not None and not rise.abs() < 1e-2:
            return Measured(0.0, *(to_array(torch.full_like(x, math.nan)) for x in found))
        for x, tangent in pairs:
            other = torch.zeros_like(x) if tangent is None else tangent
            x[(x - other).abs() > 1e-2 * x.abs().max()] = math.nan
        return Measured(0.0, *map(to_array, found))
