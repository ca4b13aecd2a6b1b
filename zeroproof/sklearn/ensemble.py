"""Networks side by side, at little more than the cost of one, and their loss of weighted rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from zeroproof.layers import ProjectiveMLP
from zeroproof.losses import LossConfig, SCMTrainingLoss
from zeroproof.losses.likelihood import interval_term, likelihood_term
from zeroproof.scm.arcs import Lifted, is_interval
from zeroproof.scm.outputs import shares_denominator


class ProjectiveEnsemble(nn.Module):
    """Networks like :class:`~zeroproof.layers.projective.ProjectiveMLP` that see the same rows.

    Each input of each member has a gate, a factor that is 1 at first: weight decay on gates and
    first weights together selects inputs, as the group lasso does. A mean of losses over members
    trains each as if alone, since Adam's steps do not depend on the scale of a gradient.

    Args:
        members: number of networks.
        in_features, out_features: of each.
        options: others of :class:`~zeroproof.layers.projective.ProjectiveMLP`.
    """

    def __init__(self, members: int, in_features: int, out_features: int, **options: Any) -> None:
        super().__init__()
        networks = [ProjectiveMLP(in_features, out_features, **options) for _ in range(members)]
        stacked, _ = torch.func.stack_module_state(networks)
        self.sizes = networks[0].head.sizes
        self.gates = nn.Parameter(torch.ones(members, 1, in_features))
        self.weights, self.biases = (
            nn.ParameterList(part for name, part in stacked.items() if name.endswith(kind))
            for kind in ("weight", "bias")
        )

    def forward(
        self, rows: tuple[Float[Tensor, "rows in_features"], Float[Tensor, "rows members"]]
    ) -> tuple[Float[Tensor, "rows members outputs"], Float[Tensor, "rows members denominators"]]:
        """Return ``(P, Q)`` of all members; the weights of the rows are for the loss."""
        x = rows[0] * self.gates
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias[:, None], functional.silu(x) if number else x, weight.mT)
        P, Q = torch.split(x.transpose(0, 1), self.sizes, dim=-1)
        return P, Q


class WeightedLikelihood:
    """Mean of weight times negative log likelihood; a ``loss_fn`` of the trainer.

    Weights should have the mean 1 over all batches: a batch is not divided by its own sum, which
    would let the weight of a row depend on the others.
    """

    default_curriculum = SCMTrainingLoss(LossConfig(fit="likelihood")).default_curriculum

    def __call__(
        self,
        outputs: tuple[Tensor, Tensor],
        lifted: Lifted,
        *,
        inputs: tuple[Tensor, Tensor],
        loss_weights: Mapping[str, float | Tensor] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss; ``inputs`` end in the weights, ``loss_weights`` may hold the resolution.

        A row counts by the mean over its outputs, or by the joint term of a shared denominator.
        """
        resolution = (loss_weights or {}).get("resolution", LossConfig.resolution)
        if is_interval(lifted):
            terms = interval_term(*outputs, *lifted, resolution)
        else:
            terms = likelihood_term(*outputs, *lifted, resolution)
        rows = terms if shares_denominator(*outputs) else terms.mean(-1)
        return (inputs[1] * rows).mean()
