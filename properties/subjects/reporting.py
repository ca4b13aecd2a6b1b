"""What trainers of torch modules tell their hook and their loss, whosever they are."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from properties.subjects.tasks import Batch
from spec.epochs import OFFERED, Call
from spec.logs import Hooked
from spec.runs import Plan


class Reporting:
    """What trainers tell their hook and their loss, in sessions that a subclass makes."""

    _renamed: Mapping[str, str] = {}
    _session: Callable[..., Any]

    def hook_types(self, plan: Plan) -> list[Mapping[str, type]]:
        records: list[Mapping[str, Any]] = []
        self._session(plan, 0, len(plan.epochs), log_hook=records.append).fit()
        return [{self._renamed.get(n, n): type(value) for n, value in r.items()} for r in records]

    def raising_hook(self, plan: Plan, record: int) -> Hooked:
        got: list[Mapping[str, Any]] = []

        def hook(metrics: Mapping[str, Any]) -> None:
            got.append(metrics)
            if len(got) > record:
                raise KeyError(record)

        try:
            self._session(plan, 0, len(plan.epochs), log_hook=hook).fit()
        except Exception as error:
            return Hooked(type(error).__name__, len(got))
        return Hooked("", len(got))

    def loss_arguments(self, accepts: Sequence[str], plan: Plan) -> list[Call]:
        calls, faults = list[Call](), list[float]()

        def loss(outputs: Batch, lifted: Batch, **given: Any) -> Tensor:
            plain = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in given.items()}
            Y_n, Y_d = (part.tolist() for part in lifted)
            calls.append(Call(not session.model.training, (Y_n, Y_d), plain))
            return outputs[0].mean() + (math.nan if faults.pop() else 0.0)

        kind = inspect.Parameter.KEYWORD_ONLY
        positional = list(inspect.signature(loss).parameters.values())[:2]
        keywords = [inspect.Parameter(name, kind) for name in OFFERED if name in accepts]
        if len(keywords) < len(OFFERED):  # else it takes any
            loss.__signature__ = inspect.Signature([*positional, *keywords])  # type: ignore[attr-defined]
        session = self._session(plan, 0, len(plan.epochs), loss=loss)
        session.model.register_forward_pre_hook(lambda _, x: faults.append(x[0][0, 2].item()))
        session.fit()
        return calls
