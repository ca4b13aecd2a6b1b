"""DEC by ``zeroproof.inference``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from properties.assertions import Unsupported
from properties.tensors import flags, to_array, to_tensor
from spec import Array
from spec.decoding import Strict, Tuples

inference: Any = import_module("zeroproof.inference")


class PublicDecoding:
    """``strict_inference``, which knows the raw gauge only."""

    def _config(self, case: Tuples) -> Any:
        """Return the thresholds of a case."""
        if case.gauge != "raw":
            raise Unsupported("a gauge that does not depend on the size of the tuples")
        return inference.InferenceConfig(tau_infer=case.tau_infer, tau_train=case.tau_train)

    def decode(self, case: Tuples) -> Strict:
        P, Q = to_tensor(case.P), to_tensor(case.Q)
        found = inference.strict_inference(P, Q, config=self._config(case))
        return Strict(to_array(found.decoded), flags(found.bottom_mask), flags(found.gap_mask))

    def decode_gradients(self, case: Tuples) -> tuple[Array, Array]:
        leaves = [to_tensor(part).detach().requires_grad_() for part in (case.P, case.Q)]
        value: Tensor = inference.strict_inference(*leaves, config=self._config(case)).decoded
        P, Q = torch.autograd.grad(value, leaves, torch.ones_like(value))
        return to_array(P), to_array(Q)
