"""LIFT by ``zeroproof``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from properties.subjects.zeroproof.coverage import made
from properties.tensors import to_array, to_tensor
from spec import Array
from spec.coverage import Predicted
from spec.lifting import Effects, Entered
from zeroproof.inference import InferenceConfig, strict_inference
from zeroproof.losses import LossConfig, SCMTrainingLoss
from zeroproof.scm import as_tuple
from zeroproof.training.targets import lift_targets, orientation


class ZeroProofLifting:
    """``zeroproof.training.targets``."""

    @contextmanager
    def using_default_dtype(self, dtype: str) -> Iterator[None]:
        """Set torch's default dtype for the while."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            yield
        finally:
            torch.set_default_dtype(before)

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

    def as_tuples(self, outputs: Predicted) -> tuple[Array, Array]:
        """Return the tuples of outputs."""
        P, Q = as_tuple(made(outputs))
        return to_array(P), to_array(Q)

    def loss_of_outputs(self, outputs: Predicted) -> Entered:
        """Run the backward of the training loss."""
        first, targets = to_tensor(outputs.first).requires_grad_(), to_tensor(outputs.targets)
        config = LossConfig(target_coverage=1.0)
        lifted = lift_targets(targets)
        loss, _ = SCMTrainingLoss(config)(made(outputs, first), lifted, tau=0.5, targets=targets)
        (slopes,) = torch.autograd.grad(loss, first)
        return Entered(loss.item(), to_array(slopes))
