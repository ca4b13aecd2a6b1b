"""DEC by ``zeroproof``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from properties.subjects.zeroproof.unchecked import unchecked
from properties.tensors import flags, to_array, to_tensor
from spec import Array
from spec.decoding import Strict, Tuples, Wrapped
from zeroproof.inference import Decoded, InferenceConfig, SCMInferenceWrapper, strict_inference


def _decode(case: Tuples, P: torch.Tensor, Q: torch.Tensor) -> Decoded:
    return strict_inference(P, Q, InferenceConfig(case.tau_infer, case.tau_train, case.gauge))


class Scaled(nn.Module):
    """A model that returns given tuples, multiplied by a number."""

    def __init__(self, scale: torch.Tensor, tuples: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.scale, self.tuples = scale, tuples

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        P, Q = (self.scale * part for part in self.tuples)
        return P, Q


class ZeroProofDecoding:
    """``zeroproof.inference``."""

    def decode(self, case: Tuples) -> Strict:
        with unchecked():
            decoded = _decode(case, to_tensor(case.P), to_tensor(case.Q))
        return Strict(to_array(decoded.value), flags(decoded.bottom), flags(decoded.gap))

    def decode_gradients(self, case: Tuples) -> tuple[Array, Array]:
        leaves = [to_tensor(part).detach().requires_grad_() for part in (case.P, case.Q)]
        value = _decode(case, *leaves).value
        P, Q = torch.autograd.grad(value, leaves, torch.ones_like(value))
        return to_array(P), to_array(Q)

    def wrapped(self, case: Tuples, modes: Sequence[bool]) -> Wrapped:
        """Put a wrapper into modes."""
        given = [to_tensor(part) for part in (case.P, case.Q)]
        scale = torch.ones((), dtype=given[0].dtype, requires_grad=True)
        config = InferenceConfig(case.tau_infer, case.tau_train, case.gauge)
        wrapper = SCMInferenceWrapper(Scaled(scale, given), config)
        found = {mode: wrapper.train(mode)() for mode in modes}
        tuples, decoded = found[True], found[False]
        tracked = all(part.requires_grad for part in tuples)
        strict = Strict(to_array(decoded.value), flags(decoded.bottom), flags(decoded.gap))
        return Wrapped((to_array(tuples[0]), to_array(tuples[1])), tracked, strict)
