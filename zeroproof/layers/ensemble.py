"""Networks side by side, at little more than the cost of one small network."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from zeroproof.layers.projective import ProjectiveMLP


class ProjectiveEnsemble(nn.Module):
    """Networks like :class:`~zeroproof.layers.projective.ProjectiveMLP` that see the same rows.

    Each input of each member has a gate, a factor that is 1 at first: weight decay on gates and
    first weights together selects inputs, as the group lasso does. A mean of losses over members
    trains each as if alone, since Adam's steps do not depend on the scale of a gradient.

    Args:
        members: number of networks.
        in_features, out_features: of each.
        hidden: widths of the hidden layers.
        shared_denominator: whether all outputs of a member have one ``Q``.

    Example:
        >>> P, Q = ProjectiveEnsemble(4, 3, 2, shared_denominator=True)(torch.zeros(5, 3))
        >>> P.shape, Q.shape
        (torch.Size([5, 4, 2]), torch.Size([5, 4, 1]))
    """

    def __init__(self, members: int, in_features: int, out_features: int, **options: Any) -> None:
        super().__init__()
        networks = [ProjectiveMLP(in_features, out_features, **options) for _ in range(members)]
        linear = [[m for m in mlp.modules() if isinstance(m, nn.Linear)] for mlp in networks]
        self.sizes = networks[0].head.sizes
        self.gates = nn.Parameter(torch.ones(members, 1, in_features))
        self.weights, self.biases = (
            nn.ParameterList(
                nn.Parameter(torch.stack([getattr(layer, name).detach() for layer in same]))
                for same in zip(*linear, strict=True)
            )
            for name in ("weight", "bias")
        )

    def forward(
        self, x: Float[Tensor, "batch in_features"]
    ) -> tuple[
        Float[Tensor, "batch members out_features"], Float[Tensor, "batch members denominators"]
    ]:
        """Return ``(P, Q)`` of all members."""
        x = x * self.gates
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias[:, None], functional.silu(x) if number else x, weight.mT)
        P, Q = torch.split(x.transpose(0, 1), self.sizes, dim=-1)
        return P, Q
