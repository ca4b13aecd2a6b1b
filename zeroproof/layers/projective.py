"""Heads that turn features into projective tuples, and an MLP that ends in one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zeroproof.autodiff.policies import GradientPolicy, get_policy, set_default
from zeroproof.scm.outputs import gate_tuple, widen
from zeroproof.utils.checks import check_floats, check_integer, check_number, check_type, describe


class ProjectiveHead(nn.Module):
    """Base of the heads: linear parts of the features, combined to ``(P, Q)``.

    The gradient follows the policy of the scope, if there is one (default PASSTHROUGH).

    Args:
        in_features: size of the last dimension of the features.
        out_features: number of tuples.
        shared_denominator: whether all of them have one ``Q``, and so their poles together.

    Meets: POL-8.
    """

    parts: int

    def __init__(
        self, in_features: int, out_features: int, *, shared_denominator: bool = False
    ) -> None:
        super().__init__()
        self.in_features = check_integer("in_features", in_features, 1)
        self.sizes = [check_integer("out_features", out_features, 1)] * self.parts
        check_type("shared_denominator", shared_denominator, bool, "True or False")
        if shared_denominator:
            self.sizes[1] = 1  # the part that makes Q
        self.linear = nn.Linear(self.in_features, sum(self.sizes))

    def combine(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Combine the linear parts, of which the second makes ``Q``, in float32 or wider."""
        raise NotImplementedError

    def forward(
        self, features: Float[Tensor, "*batch in_features"]
    ) -> tuple[Float[Tensor, "*batch out_features"], Float[Tensor, "*batch denominators"]]:
        """Return ``(P, Q)``; a shared ``Q`` has one column."""
        try:
            parts = self.linear(features)
        except (RuntimeError, TypeError):  # checked now, at no cost to what is right
            check_features("features", features, self.linear.weight)
            raise
        parts = parts.split(self.sizes, dim=-1)
        return gate_tuple(*self.combine(*widen(*parts)), get_policy(self))


def check_features(name: str, x: object, weight: Tensor) -> None:
    """Raise TypeError or ValueError unless a linear layer of this weight takes ``x``."""
    check_floats(**{name: x})
    assert isinstance(x, Tensor)
    if x.shape[-1:] != weight.shape[1:]:
        raise ValueError(
            f"{name} must have {weight.shape[1]} features along its last dimension, got the shape "
            f"{tuple(x.shape)}"
        )
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(
            f"{name} is of {x.dtype}, the layer of {weight.dtype}; convert one, as with "
            f"{name}.to({weight.dtype})"
        )


set_default(ProjectiveHead, GradientPolicy.PASSTHROUGH)


class FreeHead(ProjectiveHead):
    """``P`` and ``Q`` are the linear parts themselves.

    Their scale is free, and they cross any number of poles. Suited to curves with poles.

    Example:
        >>> P, Q = FreeHead(4, 1)(torch.zeros(3, 4))
        >>> P.shape
        torch.Size([3, 1])
    """

    parts = 2

    def combine(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parts."""
        return parts[0], parts[1]


class GatedHead(ProjectiveHead):
    """``P = v·q + s·(1 − q)``, ``Q = q``: a value, and a pole that opens as the gate closes.

    ``q = sigmoid`` is never negative, though it may round to 0, so the value goes to ±∞ (``s =
    tanh`` is the orientation) but never crosses a pole. Suited to censored labels.

    Example:
        >>> P, Q = GatedHead(4, 1)(torch.zeros(3, 4))
        >>> bool((Q > 0).all())
        True
    """

    parts = 3

    def combine(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gated tuple."""
        value, gate, orientation = parts
        q = torch.sigmoid(gate)
        return value * q + torch.tanh(orientation) * (1 - q), q


class PoleHead(ProjectiveHead):
    """``P / Q = v + s / h``: a value plus a simple pole, scaled to ``Q = h / √(1 + h²)``.

    For large ``|h|`` the tuple is ``(±v, ±1)``, as for a regressor. At ``h = 0`` it is ``(s, 0)``,
    the pole with orientation ``s = tanh``. The sign of ``h`` may change, so it crosses single
    poles. In training it is less steady than the gated head on censored labels.

    Example:
        >>> P, Q = PoleHead(4, 1)(torch.zeros(3, 4))
        >>> bool((Q.abs() <= 1).all())
        True
    """

    parts = 3

    def combine(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scaled tuple."""
        value, h, orientation = parts
        size = torch.hypot(h, torch.ones_like(h))
        q = h / size
        return value * q + torch.tanh(orientation) / size, q


HEADS: dict[str, type[ProjectiveHead]] = {"free": FreeHead, "gated": GatedHead, "pole": PoleHead}


class ProjectiveMLP(nn.Module):
    """A multilayer perceptron that ends in a projective head.

    Args:
        in_features: number of features.
        out_features: number of outputs a sample; None gives one, without a dimension of its
            own: ``(batch,)``.
        hidden: widths of the hidden layers.
        head: ``"free"``, ``"gated"`` or ``"pole"``.
        shared_denominator: whether ``Q`` is one column for all outputs of a sample. They then have
            their poles together, and the fit ``"likelihood"`` is their joint one (LIK-9).
        input_scale: factor of the first layer's initial weights, and with 1 on average that of its
            biases; > 0. A larger one lets the network bend more often over inputs of unit size,
            which narrow poles need and tables of many columns suffer from. None takes 5 over the
            number of features, at least 1.

    Raises TypeError or ValueError for sizes, a head and a scale that cannot be, and on a forward
    for features of another dtype or number.

    Example:
        >>> P, Q = ProjectiveMLP(3)(torch.zeros(5, 3))
        >>> P.shape
        torch.Size([5])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int | None = None,
        *,
        hidden: Sequence[int] = (64, 64),
        head: str = "free",
        shared_denominator: bool = False,
        input_scale: float | None = None,
    ) -> None:
        super().__init__()
        if head not in [*HEADS]:
            raise ValueError(f"head must be one of {', '.join(HEADS)}, got {describe(head)}")
        in_features = check_integer("in_features", in_features, 1)
        usual = max(1.0, 5.0 / in_features)
        input_scale = usual if input_scale is None else input_scale
        input_scale = check_number("input_scale", input_scale, "(0, ∞)")
        check_type("hidden", hidden, (tuple, list), "a tuple of widths, as (64, 64)")
        widths = [in_features, *(check_integer("a width of hidden", n, 1) for n in hidden)]
        layers: list[nn.Module] = []
        for width, size in pairwise(widths):
            layers += [nn.Linear(width, size), nn.SiLU()]
        if layers:
            with torch.no_grad():
                weight, bias = layers[0].parameters()
                weight.mul_(input_scale)
                bias.mul_((1.0 + input_scale) / 2)
        self.body = nn.Sequential(*layers)
        outputs = 1 if out_features is None else out_features
        self.head = HEADS[head](widths[-1], outputs, shared_denominator=shared_denominator)
        self.scalar = out_features is None

    def forward(
        self, x: Float[Tensor, "batch in_features"]
    ) -> tuple[Float[Tensor, "batch *outputs"], Float[Tensor, "batch *denominators"]]:
        """Return ``(P, Q)``."""
        try:
            P, Q = self.head(self.body(x))
        except (RuntimeError, TypeError):
            check_features("x", x, [*self.body, self.head.linear][0].weight)
            raise
        return (P.squeeze(-1), Q.squeeze(-1)) if self.scalar else (P, Q)
