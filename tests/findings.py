"""What is wrong with the public packages, each shown by a few lines of their own public API.

``python findings.py 0.4.3`` with the package's folder on the path prints, as JSON, whether each
finding about that version shows. Nothing here knows of the specification or its subjects.
"""

import json
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

OF: dict[str, list[Callable[[], bool]]] = {"0.4.3": [], "0.6.1": []}


def of(*versions: str) -> Callable[[Callable[[], bool]], Callable[[], bool]]:
    """Note of which versions a finding is."""

    def note(finding: Callable[[], bool]) -> Callable[[], bool]:
        for version in versions:
            OF[version].append(finding)
        return finding

    return note


class Scale(nn.Module):
    """``w·x``."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Any:
        return self.w * x


class Tuples(Scale):
    """``(w·x, 1)``, and the second part 0 where x is 0."""

    def forward(self, x: Tensor) -> Any:
        return self.w * x, (x != 0).to(x.dtype)


def mean(outputs: Any, lifted: Any) -> Tensor:
    return (outputs[0] if isinstance(outputs, tuple) else outputs).mean()


def batch(*x: float) -> tuple[Tensor, Tensor]:
    """Inputs of as many samples, and targets that nobody looks at."""
    return torch.tensor(x)[:, None], torch.zeros(len(x), 1)


def trainer_of(
    model: nn.Module,
    loader: Any,
    loss: Any = mean,
    more: Any = (),
    schedule: Any = None,
    **options: Any,
) -> Any:
    training = import_module("zeroproof.training")
    optimizer = torch.optim.SGD([*model.parameters(), *more], lr=0.5)
    scheduler = schedule(optimizer) if schedule else None
    config = training.TrainingConfig(**options)
    return training.SCMTrainer(model, optimizer, loss, loader, scheduler=scheduler, config=config)


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


@of("0.4.3", "0.6.1")
def half_precision_nan() -> bool:
    losses = import_module("zeroproof.losses")
    P, Q, Y_n, Y_d = (torch.tensor([x], dtype=torch.float16) for x in (0.0, 0.0, 1.0, 0.0))
    half = losses.implicit_loss(P, Q, Y_n, Y_d)
    wide = losses.implicit_loss(P.float(), Q.float(), Y_n.float(), Y_d.float())
    return bool(half.isnan()) and wide.item() == 0


@of("0.4.3", "0.6.1")
def half_precision_zero() -> bool:
    losses = import_module("zeroproof.losses")
    P, Q, Y_n, Y_d = (torch.tensor([x], dtype=torch.float16) for x in (1e-4, 1.0, 0.0, 1.0))
    half = losses.implicit_loss(P, Q, Y_n, Y_d)
    wide = losses.implicit_loss(P.float(), Q.float(), Y_n.float(), Y_d.float())
    return half.item() == 0 and wide.item() > 1e-9


@of("0.4.3", "0.6.1")
def large_target_overflows() -> bool:
    losses = import_module("zeroproof.losses")
    one, large = torch.ones(1), torch.full((1,), 1e20)
    return bool(losses.implicit_loss(one, one, large, one).isnan())


@of("0.4.3")
def infinite_output_covered() -> bool:
    return trainer_of(Scale(), [], val_loader=[batch(torch.inf)]).validate()["coverage"] == 1


class Numerator(nn.Module):
    """A tuple of the input and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Any:
        return x, self.w.expand_as(x)


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
def nan_through_clamp_and_project() -> bool:
    policies = import_module("zeroproof.autodiff.policies").GradientPolicy
    layers = import_module("zeroproof.layers.scm_rational")
    found = []
    for policy in (policies.CLAMP, policies.PROJECT):
        layer = layers.SCMRationalLayer(0, 1, gradient_policy=policy)
        with torch.no_grad():
            layer.denominator.copy_(torch.tensor([0.0, 1.0]))
        output, bottom = layer(torch.tensor([0.0, 1.0]))  # the first one at the pole
        output.sum().backward()
        found.append(bool(layer.numerator.grad.isnan().any()) and bottom.tolist() == [True, False])
    return all(found)


@of("0.4.3")
def policy_leaks_across_threads() -> bool:
    autodiff, seen = import_module("zeroproof.autodiff.policies"), []
    with autodiff.gradient_policy(autodiff.GradientPolicy.REJECT):
        thread = threading.Thread(target=lambda: seen.append(autodiff.get_policy()))
        thread.start()
        thread.join()
    return seen == [autodiff.GradientPolicy.REJECT]


@of("0.4.3", "0.6.1")
def threshold_from_global_generator() -> bool:
    before = torch.get_rng_state()
    import_module("zeroproof.training").perturbed_threshold(0.0, 1.0)
    return not torch.equal(before, torch.get_rng_state())


@of("0.4.3", "0.6.1")
def rejection_without_gradient() -> bool:
    losses = import_module("zeroproof.losses")
    Q = torch.zeros(3, requires_grad=True)
    loss = losses.rejection_loss(Q.abs() < 0.5, target_coverage=1.0)
    return loss.item() == 1 and not loss.requires_grad


@of("0.4.3")
def nan_through_masked_margin() -> bool:
    losses = import_module("zeroproof.losses")
    Q, finite = torch.tensor([0.0, torch.nan]), torch.tensor([True, False])
    return bool(losses.margin_loss(Q, 0.5, mask_finite=finite).isnan())


@of("0.4.3")
def nan_through_masked_sign() -> bool:
    losses = import_module("zeroproof.losses")
    P, singular = torch.tensor([1.0, torch.nan]), torch.tensor([True, False])
    one, zero = torch.ones(2), torch.zeros(2)
    return bool(losses.sign_consistency_loss(P, one, one, zero, mask_singular=singular).isnan())


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


@of("0.4.3", "0.6.1")
def shapes_broadcast() -> bool:
    losses = import_module("zeroproof.losses")
    flat, column = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[1.0], [2.0], [3.0]])
    one = torch.ones(3)
    right = losses.implicit_loss(flat, one, flat, one)
    wrong = losses.implicit_loss(flat, one, column, one[:, None])
    return right.item() == 0 and wrong.item() > 0.1


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


if __name__ == "__main__":
    json.dump({finding.__name__: finding() for finding in OF[sys.argv[1]]}, sys.stdout)
