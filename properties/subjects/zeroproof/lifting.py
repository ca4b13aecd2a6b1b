"""LIFT by ``zeroproof``."""

from __future__ import annotations

import torch

from properties.tensors import to_array, to_tensor
from spec import Array
from spec.lifting import Effects
from zeroproof.inference import InferenceConfig, strict_inference
from zeroproof.training.targets import lift_targets, orientation


class ZeroProofLifting:
    """``zeroproof.training.targets``."""

    @property
    def default_dtype(self) -> str:
        """torch's default dtype."""
        return str(torch.get_default_dtype()).removeprefix("torch.")

    def lift(self, y: Array) -> tuple[Array, Array]:
        """Return ``(Y_n, Y_d)``."""
        Y_n, Y_d = lift_targets(to_tensor(y))
        return to_array(Y_n), to_array(Y_d)

    def orientation(self, y: Array) -> Array:
        """Return the orientations."""
        return to_array(orientation(to_tensor(y)))

    def lift_effects(self, y: Array) -> Effects:
        """Lift a leaf, and write over the results."""
        tensor = to_tensor(y).requires_grad_()
        lifted = lift_targets(tensor)
        for part in lifted:
            part.detach().fill_(7.0)
        return Effects(to_array(tensor), any(part.requires_grad for part in lifted))

    def unlift(self, y: Array) -> Array:
        """Lift and decode strictly."""
        config = InferenceConfig(tau_infer=1.0, tau_train=1.0)
        return to_array(strict_inference(*lift_targets(to_tensor(y)), config).value)
