"""DEC by ``zeroproof``."""

from __future__ import annotations

import torch

from properties.subjects.zeroproof.unchecked import unchecked
from properties.tensors import flags, to_array, to_tensor
from spec import Array
from spec.decoding import Strict, Tuples
from zeroproof.inference import Decoded, InferenceConfig, strict_inference


def _decode(case: Tuples, P: torch.Tensor, Q: torch.Tensor) -> Decoded:
    return strict_inference(P, Q, InferenceConfig(case.tau_infer, case.tau_train, case.gauge))


class ZeroProofDecoding:
    """``zeroproof.inference``."""

    def decode(self, case: Tuples) -> Strict:
        """Decode strictly."""
        with unchecked():
            decoded = _decode(case, to_tensor(case.P), to_tensor(case.Q))
        return Strict(to_array(decoded.value), flags(decoded.bottom), flags(decoded.gap))

    def decode_gradients(self, case: Tuples) -> tuple[Array, Array]:
        """Run the backward of the values."""
        leaves = [to_tensor(part).detach().requires_grad_() for part in (case.P, case.Q)]
        value = _decode(case, *leaves).value
        P, Q = torch.autograd.grad(value, leaves, torch.ones_like(value))
        return to_array(P), to_array(Q)
