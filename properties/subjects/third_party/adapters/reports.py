"""VAL, LOG and CUR: what ``SCMTrainer`` reports, and what it tells its loss."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from properties.assertions import Unsupported
from properties.subjects.tasks import Disturbed
from properties.subjects.third_party.adapters.training import PublicTraining
from spec.epochs import OFFERED, Hooked
from spec.runs import Plan

training: Any = import_module("zeroproof.training")


def curriculum(weights: Sequence[Mapping[str, float]]) -> Any:
    """Return the weights of one or two epochs as ramps, which is all there is for them."""
    if not any(weights):
        return None
    first, last = weights[0], weights[-1]
    if len(weights) > 2 or first.keys() != last.keys():
        raise Unsupported("a curriculum that is no ramp")
    ramps = {name: training.LinearRamp(first[name], last[name]) for name in first}
    return training.LossWeightsCurriculum(ramps)


class PublicReports(PublicTraining):
    """``log_hook``, ``validate`` and the arguments of the loss."""

    def validation_traces(self, fails: bool) -> tuple[str, ...]:
        """Validate."""
        torch.manual_seed(0)
        task = Disturbed(fails)
        config = training.TrainingConfig(val_loader=task.loader)
        given = task.model, task.optimizer, task.loss, task.loader
        return task.traces(training.SCMTrainer(*given, config=config).validate)

    def hook_types(self, plan: Plan) -> list[Mapping[str, type]]:
        """Fit, and look at what the hook gets."""
        records: list[Mapping[str, Any]] = []
        self._session(plan, 0, len(plan.epochs), records.append).fit()
        return [{name: type(value) for name, value in record.items()} for record in records]

    def raising_hook(self, plan: Plan, record: int) -> Hooked:
        """Fit with a hook that raises."""
        got: list[Mapping[str, Any]] = []

        def hook(metrics: Mapping[str, Any]) -> None:
            got.append(metrics)
            if len(got) > record:
                raise KeyError(record)

        try:
            self._session(plan, 0, len(plan.epochs), hook).fit()
        except Exception as error:
            return Hooked(type(error).__name__, len(got))
        return Hooked("", len(got))

    def loss_arguments(
        self, accepts: Sequence[str], weights: Sequence[Mapping[str, float]]
    ) -> list[Mapping[str, object]]:
        """Fit with a loss of that signature."""
        layer, arrived = nn.Linear(2, 1), list[Mapping[str, object]]()

        def loss(outputs: Tensor, lifted: tuple[Tensor, Tensor], **given: Any) -> Tensor:
            plain = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in given.items()}
            arrived.append(plain)
            return outputs.mean()

        kind = inspect.Parameter.KEYWORD_ONLY
        positional = list(inspect.signature(loss).parameters.values())[:2]
        keywords = [inspect.Parameter(name, kind) for name in OFFERED if name in accepts]
        loss.__signature__ = inspect.Signature([*positional, *keywords])  # type: ignore[attr-defined]
        trainer = training.SCMTrainer(
            layer,
            torch.optim.SGD(layer.parameters(), lr=0.1),
            loss,
            [(torch.ones(1, 2), torch.ones(1, 1))],
            config=training.TrainingConfig(
                max_epochs=len(weights), loss_curriculum=curriculum(weights)
            ),
        )
        trainer.fit()
        return arrived
