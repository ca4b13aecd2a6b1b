"""The projective likelihood, of rows that count by weights of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from zeroproof.losses.composite import LossConfig, SCMTrainingLoss
from zeroproof.losses.likelihood import interval_term, likelihood_term
from zeroproof.scm.arcs import Lifted, is_interval
from zeroproof.scm.outputs import shares_denominator


class Weighed(nn.Module):
    """Calls a model with the first of a pair of inputs; the second are weights, for the loss.

    Args:
        model: returns ``(P, Q)``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: tuple[Any, Tensor]) -> Any:
        """Return the model's outputs."""
        return self.model(inputs[0])


class WeightedLikelihood:
    """Mean of weight times negative log likelihood; a ``loss_fn`` of the trainer.

    The loader yields ``((inputs, weights), targets)`` to a :class:`Weighed` model. Weights have the
    shape of the outputs less their last dimension, and should have the mean 1 over all batches:
    a batch is not divided by its own sum, which would let the weight of a row depend on the others.

    """

    def __init__(self) -> None:
        config = LossConfig(fit="likelihood")
        self.default_curriculum = SCMTrainingLoss(config).default_curriculum
        self.resolution = config.resolution

    def terms(
        self, outputs: tuple[Tensor, Tensor], lifted: Lifted, resolution: float | Tensor
    ) -> Float[Tensor, "..."]:
        """Return the mean over outputs for each row, of a shared denominator the joint term."""
        if is_interval(lifted):
            terms = interval_term(*outputs, *lifted, resolution)
        else:
            terms = likelihood_term(*outputs, *lifted, resolution)
        return terms if shares_denominator(*outputs) else terms.mean(-1)

    def __call__(
        self,
        outputs: tuple[Tensor, Tensor],
        lifted: Lifted,
        *,
        inputs: tuple[Any, Tensor],
        loss_weights: Mapping[str, float | Tensor] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss; ``loss_weights`` may hold the ``resolution``."""
        resolution = (loss_weights or {}).get("resolution", self.resolution)
        return (inputs[1] * self.terms(outputs, lifted, resolution)).mean()
