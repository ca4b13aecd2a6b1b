"""VAL, LOG and CUR: what ``SCMTrainer`` reports, and what it tells its loss."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from properties.assertions import Unsupported
from properties.subjects.scripted import Reporting
from properties.subjects.third_party.adapters.training import RENAMED, PublicTraining
from spec.epochs import Call
from spec.runs import Plan


class PublicReports(PublicTraining, Reporting):
    """``log_hook`` and the arguments of the loss."""

    _renamed = MappingProxyType(RENAMED)

    def loss_arguments(self, accepts: Sequence[str], plan: Plan) -> list[Call]:
        if "loss_weights" in accepts and not plan.weights:
            raise Unsupported("an argument for weights where none are configured")
        return super().loss_arguments(accepts, plan)
