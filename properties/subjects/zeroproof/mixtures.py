"""LIK-11 to LIK-13 and CUR-3 by ``zeroproof``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from properties.subjects.zeroproof.scripted import trainer_of
from properties.subjects.zeroproof.unchecked import unchecked
from properties.tensors import measured, to_array, to_tensor
from spec import Array
from spec.likelihood_fit import Fit
from spec.losses import TAU, Measured
from zeroproof.inference import certainty, combine_tuples, median_and_scale
from zeroproof.layers import ProjectiveMLP
from zeroproof.losses import LossConfig, SCMTrainingLoss
from zeroproof.training.curriculum import LossWeightsCurriculum
from zeroproof.training.targets import Interval, lift_targets


class ZeroProofMixtures:
    """``zeroproof.inference`` on tuples, and the likelihood as the fit of ``SCMTrainingLoss``."""

    def certainty(self, P: Array, Q: Array) -> Array:
        with unchecked():  # of shapes that differ, as in what follows
            return to_array(certainty(to_tensor(P), to_tensor(Q)))

    def median_and_scale(self, P: Array, Q: Array) -> tuple[Array, Array]:
        with unchecked():
            median, scale = median_and_scale(to_tensor(P), to_tensor(Q))
        return to_array(median), to_array(scale)

    def combine(self, P: Array, Q: Array, weights: Array | None) -> tuple[Array, Array]:
        own = None if weights is None else to_tensor(weights)
        with unchecked():
            p, q = combine_tuples(to_tensor(P), to_tensor(Q), own)
        return to_array(p), to_array(q)

    def likelihood_fit(
        self, fit: Fit, weighed: Sequence[str] | None, learned: bool = False
    ) -> tuple[Measured, dict[str, float]]:
        options = {} if fit.resolution is None else {"resolution": fit.resolution}
        config = LossConfig(fit=fit.fit, **options)
        given: dict[str, Any] = {}
        if weighed is not None:
            given = {name: float(name in weighed) for name in config.weights}
        if isinstance(fit.given, Array):
            given["resolution"] = to_tensor(fit.given).requires_grad_(learned)
        elif fit.given is not None:
            given["resolution"] = fit.given
        p, q = (to_tensor(x).requires_grad_() for x in (fit.P, fit.Q))
        y: Any = to_tensor(fit.lower)
        y = y if fit.upper is None else Interval(y, to_tensor(fit.upper))
        raw = y if fit.raw is None else to_tensor(fit.raw)
        with unchecked():
            total, terms = SCMTrainingLoss(config)(
                (p, q), lift_targets(y), tau=TAU, targets=raw, loss_weights=given
            )
        return measured(total, p, q), {name: term.item() for name, term in terms.items()}

    def resolutions(
        self, fit: str, epochs: int, ends: tuple[float, float] | None,
        fixed: Mapping[str, float], curriculum: Mapping[str, float],
    ) -> list[tuple[float | None, float | None]]:  # fmt: skip
        options = {} if ends is None else {"first_resolution": ends[0], "resolution": ends[1]}
        loss, model = _Watched(LossConfig(fit=fit, **options)), ProjectiveMLP(1, hidden=(2,))
        loader = [(torch.ones(1, 1), torch.ones(1))]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        weights = {"loss_weights": dict(fixed)} if fixed else {}
        if curriculum:
            weights["loss_curriculum"] = LossWeightsCurriculum(curriculum)  # type: ignore[assignment]
        trainer_of(
            model, optimizer, loss, loader, max_epochs=epochs, val_loader=loader, **weights
        ).fit()
        return [*zip(loss.seen[::2], loss.seen[1::2], strict=True)]


class _Watched(SCMTrainingLoss):
    """Notes the resolution that it is given."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__(config)
        self.seen = list[float | None]()

    def __call__(
        self, outputs: Any, lifted: Any, *, tau: Any = None, targets: Any = None,
        loss_weights: Any = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        self.seen.append((loss_weights or {}).get("resolution"))
        return super().__call__(
            outputs, lifted, tau=tau, targets=targets, loss_weights=loss_weights
        )
