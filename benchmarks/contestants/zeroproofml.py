"""The trainer of the package zeroproofml with its composite loss, through its public API."""

from __future__ import annotations

from importlib import import_module

from torch import Tensor

from benchmarks.contestants.problem import Feed, start
from benchmarks.job import Job, Work


def trainer(device: str, batch: int) -> Job:
    """``SCMTrainer.fit`` of that package, for one epoch of as many batches as asked."""
    # Its modules have the names of ours, so types cannot be told from here.
    losses, training = import_module("zeroproof.losses"), import_module("zeroproof.training")
    model, optimizer = start(64, device)
    feed, combined = Feed(batch, device), losses.SCMTrainingLoss()
    device_of = next(model.parameters()).device

    def loss_fn(
        outputs: tuple[Tensor, Tensor], lifted: tuple[Tensor, Tensor], tau: float
    ) -> Tensor:
        (P, Q), (Y_n, Y_d) = outputs, lifted
        singular = Y_d == 0
        total, _ = combined(
            losses.implicit_loss(P, Q, Y_n, Y_d),
            *(P, Q, Y_n, Y_d),
            is_bottom=Q.abs() < tau,
            mask_finite=~singular,
            mask_singular=singular,
            tau_train=tau,
        )
        loss: Tensor = total
        return loss

    options = {"max_epochs": 1, "device": device_of}
    if hasattr(training.TrainingConfig, "allow_bottom_unreachable"):
        options["allow_bottom_unreachable"] = True  # or it refuses targets that are not finite

    def job(steps: int) -> Work:
        feed.steps = steps
        config = training.TrainingConfig(**options)
        work: Work = training.SCMTrainer(model, optimizer, loss_fn, feed, config=config).fit
        return work

    return job
