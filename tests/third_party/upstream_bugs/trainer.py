"""Findings about training."""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.third_party.upstream_bugs import of
from tests.third_party.upstream_bugs.models import (
    Numerator,
    Reads,
    Scale,
    Tuples,
    Watched,
    batch,
    trainer_of,
)


@of("0.4.3")
def last_batch_stops() -> bool:
    # Of ten samples nine are covered, but the last micro-batch is the tenth.
    loader = [batch(*[1.0] * 9), batch(torch.nan)]
    loss = lambda outputs, lifted: outputs.nansum()  # noqa: E731
    options = {"max_epochs": 3, "coverage_threshold": 0.5, "coverage_patience": 1}
    return len(trainer_of(Scale(), loader, loss, **options).fit()) == len(loader)


@of("0.4.3")
def window_dropped() -> bool:
    model = Scale()
    trainer_of(model, [batch(1.0)], gradient_accumulation_steps=2).fit()
    return model.w.item() == 1.0


@of("0.4.3")
def window_carried_over() -> bool:
    model = Scale()
    options = {"gradient_accumulation_steps": 2, "max_epochs": 2}
    trainer_of(model, [batch(1.0), batch(1.0), batch(4.0)], **options).fit()
    # The third micro-batch shared a step with the first of the next epoch.
    return model.w.item() == 1.0 - 0.5 * (1.0 + (4.0 + 1.0) / 2 + (1.0 + 4.0) / 2)


@of("0.4.3", "0.6.1")
def unequal_micro_batches() -> bool:
    whole, parts = Scale(), Scale()
    trainer_of(whole, [batch(1.0, 1.0, 1.0, 5.0)]).fit()
    loader = [batch(1.0, 1.0, 1.0), batch(5.0)]
    trainer_of(parts, loader, gradient_accumulation_steps=2).fit()
    return (whole.w.item(), parts.w.item()) == (0.0, -0.5)


@of("0.4.3")
def loss_divided() -> bool:
    (first, _) = trainer_of(Scale(), [batch(1.0)] * 2, gradient_accumulation_steps=2).fit()
    return first["loss"] == 0.5


@of("0.4.3")
def validation_unweighted() -> bool:
    trainer = trainer_of(Tuples(), [batch(1.0)], val_loader=[batch(1.0, 1.0, 1.0), batch(0.0)])
    found = trainer.validate()
    return (found["coverage"], found["loss"]) == (0.5, 0.5)  # of 3/4 and 3/4


@of("0.4.3")
def infinite_output_covered() -> bool:
    return trainer_of(Scale(), [], val_loader=[batch(torch.inf)]).validate()["coverage"] == 1


@of("0.4.3", "0.6.1")
def nan_numerator_covered() -> bool:
    return trainer_of(Numerator(), [], val_loader=[batch(torch.nan)]).validate()["coverage"] == 1


@of("0.4.3", "0.6.1")
def infinite_numerator_covered() -> bool:
    return trainer_of(Numerator(), [], val_loader=[batch(torch.inf)]).validate()["coverage"] == 1


@of("0.4.3", "0.6.1")
def policy_without_effect() -> bool:
    policy = import_module("zeroproof.autodiff.policies").GradientPolicy.REJECT
    model = Tuples()
    trainer_of(model, [batch(1.0)], gradient_policy=policy).fit()
    return model.w.item() == 0.5  # it was 1, and no gradient should have come


@of("0.4.3")
def resume_not_exact() -> bool:
    def trainer(model: nn.Module, epochs: int) -> Any:
        schedule = lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda k: 0.5**k)  # noqa: E731
        return trainer_of(model, [batch(1.0)], schedule=schedule, max_epochs=epochs)

    whole, first, second = Scale(), Scale(), Scale()
    trainer(whole, 3).fit()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "run.pt")
        stopped, resumed = trainer(first, 1), trainer(second, 2)
        stopped.fit()
        stopped.save_checkpoint(path)
        resumed.load_checkpoint(path)
        resumed.fit()
    # Steps of 1/2, 1/4 and 1/8; the third is 1/4 where the schedule began anew.
    return (whole.w.item(), second.w.item()) == (0.125, 0.0)


@of("0.4.3", "0.6.1")
def nan_batch_destroys_weights() -> bool:
    model = Scale()
    trainer_of(model, [batch(1.0), batch(torch.nan), batch(1.0)]).fit()
    return bool(model.w.isnan())


@of("0.6.1")
def own_parameter_multiplied() -> bool:
    moved = []
    for window in (1, 2):
        v = nn.Parameter(torch.zeros(()))
        loss = lambda outputs, lifted, v=v: outputs.mean() + v  # noqa: E731
        loader = [batch(1.0)] * window
        trainer_of(Scale(), loader, loss, [v], gradient_accumulation_steps=window).fit()
        moved.append(v.item())
    return moved == [-0.5, -1.0]


@of("0.6.1")
def no_stop_without_validation() -> bool:
    lost = [batch(torch.nan)]
    loss = lambda outputs, lifted: outputs.nansum()  # noqa: E731
    options = {"max_epochs": 5, "coverage_threshold": 1.0, "coverage_patience": 1}
    return len(trainer_of(Scale(), lost, loss, **options).fit()) == 5


@of("0.6.1")
def scheduler_fed_coverage() -> bool:
    rates = []
    for later in (1.0, torch.nan):
        # The coverage of the validation rises from 0 to 1, or stays at 0.
        outcomes = iter([torch.nan, later])

        class Validation:
            def __iter__(self, outcomes: Any = outcomes) -> Any:
                return iter([batch(next(outcomes))])

        schedule = lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0)  # noqa: E731
        trainer = trainer_of(
            Scale(),
            [batch(1.0)],
            schedule=schedule,
            max_epochs=2,
            coverage_patience=9,
            scheduler_cadence="per_validation_metric",
            val_loader=Validation(),
        )
        trainer.fit()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    # A scheduler as torch makes it wants to see a loss fall; what rises is as bad as what stays.
    return rates == [0.05, 0.05]


@of("0.4.3")
def singular_targets_stop() -> bool:
    # At a target without a value a model without one is right.
    loader = [(torch.tensor([[torch.nan]]), torch.tensor([[torch.inf]]))]
    loss = lambda outputs, lifted: outputs.nansum()  # noqa: E731
    options = {"max_epochs": 3, "coverage_threshold": 0.5, "coverage_patience": 1}
    return len(trainer_of(Scale(), loader, loss, **options).fit()) == 1


@of("0.4.3", "0.6.1")
def no_samples_no_error() -> bool:
    return trainer_of(Scale(), []).fit() == []


@of("0.4.3", "0.6.1")
def thresholds_of_all_epochs() -> bool:
    trainer = trainer_of(Scale(), [batch(1.0)], max_epochs=2)
    trainer.fit()
    return len(trainer.last_thresholds) == 2


@of("0.4.3", "0.6.1")
def half_precision_swapped() -> bool:
    model = Watched()
    options = {"mixed_precision": True, "amp_dtype": torch.float16}
    trainer = trainer_of(model, [batch(1.0)], **options)
    trainer.fit()
    return model.seen[0][0] == torch.bfloat16 and not trainer.scaler.is_enabled()


@of("0.4.3", "0.6.1")
def loss_in_half_precision() -> bool:
    seen = []

    def loss(outputs: Tensor, lifted: Any) -> Tensor:
        seen.append((outputs.dtype, torch.is_autocast_enabled("cpu")))
        return outputs.mean()

    options = {"mixed_precision": True, "amp_dtype": torch.bfloat16}
    trainer_of(Watched(), [batch(1.0)], loss, **options).fit()
    return seen == [(torch.bfloat16, True)]


@of("0.4.3", "0.6.1")
def global_step_counts_micro_batches() -> bool:
    trainer = trainer_of(Scale(), [batch(1.0)] * 2, gradient_accumulation_steps=2)
    trainer.fit()
    return trainer.global_step == 2


@of("0.4.3", "0.6.1")
def trained_in_eval_mode() -> bool:
    model = Watched().eval()
    trainer_of(model, [batch(1.0)]).fit()
    return model.seen[0][1] is False


@of("0.4.3", "0.6.1")
def host_waits_at_every_step() -> bool:
    with Reads() as reads:
        trainer_of(Scale(), [batch(1.0)] * 10).fit()
    return reads.count >= 10


@of("0.4.3", "0.6.1")
def validation_thaws_submodules() -> bool:
    model = nn.Sequential(Scale(), nn.BatchNorm1d(1).eval())
    trainer_of(model, [], val_loader=[batch(1.0)]).validate()
    return model[1].training


@of("0.4.3", "0.6.1")
def minimum_averaged() -> bool:
    found = trainer_of(Tuples(), [], val_loader=[batch(1.0), batch(0.0)]).validate()
    return found["denom_abs_min"] == 0.5


@of("0.6.1")
def nan_loss_logged_as_none() -> bool:
    got: list[Any] = []
    trainer_of(Scale(), [batch(torch.nan)], log_hook=got.append).fit()
    return got[0]["metrics"]["loss"] is None


@of("0.4.3", "0.6.1")
def weights_ignored() -> bool:
    logs = trainer_of(Scale(), [batch(1.0)], loss_weights={"misspelt": 2.0}).fit()
    return len(logs) == 1
