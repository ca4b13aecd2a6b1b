"""VAL, LOG and CUR: what ``SCMTrainer`` reports, and what it tells its loss."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from properties.assertions import Unsupported
from properties.subjects.tasks import Disturbed
from properties.subjects.third_party.adapters.training import RENAMED, Batch, PublicTraining
from spec.epochs import OFFERED, Call
from spec.logs import Hooked
from spec.runs import Plan

training: Any = import_module("zeroproof.training")


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
        self._session(plan, 0, len(plan.epochs), hook=records.append).fit()
        return [{RENAMED.get(n, n): type(value) for n, value in r.items()} for r in records]

    def raising_hook(self, plan: Plan, record: int) -> Hooked:
        """Fit with a hook that raises."""
        got: list[Mapping[str, Any]] = []

        def hook(metrics: Mapping[str, Any]) -> None:
            got.append(metrics)
            if len(got) > record:
                raise KeyError(record)

        try:
            self._session(plan, 0, len(plan.epochs), hook=hook).fit()
        except Exception as error:
            return Hooked(type(error).__name__, len(got))
        return Hooked("", len(got))

    def loss_arguments(self, accepts: Sequence[str], plan: Plan) -> list[Call]:
        """Fit with a loss of that signature."""
        if "loss_weights" in accepts and not plan.weights:
            raise Unsupported("an argument for weights where none are configured")
        calls = list[Call]()

        def loss(outputs: Batch, lifted: Batch, **given: Any) -> Tensor:
            plain = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in given.items()}
            Y_n, Y_d = (part.tolist() for part in lifted)
            calls.append(Call(not session.model.training, (Y_n, Y_d), plain))
            return outputs[0].mean()

        kind = inspect.Parameter.KEYWORD_ONLY
        positional = list(inspect.signature(loss).parameters.values())[:2]
        keywords = [inspect.Parameter(name, kind) for name in OFFERED if name in accepts]
        loss.__signature__ = inspect.Signature([*positional, *keywords])  # type: ignore[attr-defined]
        session = self._session(plan, 0, len(plan.epochs), loss=loss)
        session.fit()
        return calls
