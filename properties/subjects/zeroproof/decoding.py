"""DEC by ``zeroproof``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from properties.subjects.tensors import OnTensors
from properties.subjects.zeroproof.unchecked import unchecked
from properties.tensors import arriving, flags, to_array, to_tensor
from spec import Array
from spec.decoding import Strict, Tuples, Wrapped
from spec.heads import Row
from spec.ranges import Graded
from zeroproof.inference import InferenceConfig, SCMInferenceWrapper, strict_inference
from zeroproof.layers import ProjectiveRationalHead


def config_of(case: Tuples) -> InferenceConfig:
    return InferenceConfig(case.tau_infer, case.tau_train, case.gauge)


class Scaled(nn.Module):
    """A model that returns given tuples, multiplied by a number."""

    def __init__(self, scale: torch.Tensor, tuples: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.scale, self.tuples = scale, tuples

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        P, Q = (self.scale * part for part in self.tuples)
        return P, Q


class ZeroProofDecoding(OnTensors):
    """``zeroproof.inference``."""

    def _decoded(
        self, case: Tuples, P: torch.Tensor, Q: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with unchecked():
            found = strict_inference(P, Q, config_of(case))
        return found.value, found.bottom, found.gap

    def wrapped(self, case: Tuples, modes: Sequence[bool]) -> Wrapped:
        """Put a wrapper into modes."""
        given = [to_tensor(part) for part in (case.P, case.Q)]
        scale = torch.ones((), dtype=given[0].dtype, requires_grad=True)
        wrapper = SCMInferenceWrapper(Scaled(scale, given), config_of(case))
        found = dict[bool, Any]()
        for mode in modes:
            wrapper.train(mode).model.train(not mode)
            found[mode] = wrapper()
        tuples, decoded = found[True], found[False]
        tracked = all(part.requires_grad for part in tuples)
        strict = Strict(to_array(decoded.value), flags(decoded.bottom), flags(decoded.gap))
        return Wrapped((to_array(tuples[0]), to_array(tuples[1])), tracked, strict)

    def decode_within(self, case: Tuples, lower: float, upper: float) -> Graded:
        P, Q = (to_tensor(part).detach().requires_grad_() for part in (case.P, case.Q))
        config = replace(config_of(case), lower=lower, upper=upper)
        found = strict_inference(P, Q, config)
        in_P, in_Q = map(to_array, arriving(found.value, P, Q))
        model = Scaled(torch.ones((), dtype=P.dtype), (P, Q))
        strict, wrapped = (
            Strict(to_array(decoded.value), flags(decoded.bottom), flags(decoded.gap))
            for decoded in (found, SCMInferenceWrapper(model, config).eval()())
        )
        return Graded(strict, in_P, in_Q, wrapped)

    def decode_shared(self, case: Tuples) -> Strict:
        return self.decode(case)

    def rational(
        self, P: Row, Q: Row, domain: tuple[float, float] | None, x: Array
    ) -> tuple[Array, Array]:
        head = ProjectiveRationalHead(len(P) - 1, len(Q) - 1, domain=domain)
        for parameter, row in zip(head.parameters(), (P, Q), strict=True):
            parameter.data = torch.tensor(row)
        p, q = head(to_tensor(x))
        return to_array(p), to_array(q)
