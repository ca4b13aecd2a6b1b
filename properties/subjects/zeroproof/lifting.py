"""LIFT by ``zeroproof``."""

from __future__ import annotations

import torch

from properties.subjects.tensors import OnTensors
from properties.subjects.zeroproof.coverage import made
from properties.tensors import to_array, to_tensor
from spec import Array
from spec.coverage import Predicted
from spec.lifting import Entered, Lifted
from zeroproof.losses import LossConfig, SCMTrainingLoss
from zeroproof.scm import as_tuple
from zeroproof.training.targets import Interval, check_interval, lift_targets, orientation


class ZeroProofLifting(OnTensors):
    """``zeroproof.training.targets``."""

    _lifted = staticmethod(lift_targets)

    def lift_interval(self, lower: Array, upper: Array) -> tuple[Lifted, Lifted]:
        interval = Interval(to_tensor(lower), to_tensor(upper))
        if interval.lower.is_cuda:
            check_interval(interval)  # as loaders do; without a sync the lift cannot
        low, high = lift_targets(interval)
        return (to_array(low[0]), to_array(low[1])), (to_array(high[0]), to_array(high[1]))

    def orientation(self, y: Array) -> Array:
        return to_array(orientation(to_tensor(y)))

    def as_tuples(self, outputs: Predicted) -> tuple[Array, Array]:
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
