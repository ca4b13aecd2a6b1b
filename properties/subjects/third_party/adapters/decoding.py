"""DEC by ``zeroproof.inference``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import Tensor

from properties.assertions import Unsupported
from properties.subjects.tensors import OnTensors
from spec.decoding import Tuples

inference: Any = import_module("zeroproof.inference")


class PublicDecoding(OnTensors):
    """``strict_inference``, which knows the raw gauge only."""

    def _config(self, case: Tuples) -> Any:
        if case.gauge != "raw":
            raise Unsupported("a gauge that does not depend on the size of the tuples")
        return inference.InferenceConfig(tau_infer=case.tau_infer, tau_train=case.tau_train)

    def _decoded(self, case: Tuples, P: Tensor, Q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = inference.strict_inference(P, Q, config=self._config(case))
        return found.decoded, found.bottom_mask, found.gap_mask
