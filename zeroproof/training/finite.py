"""What stays finite: parameters that an optimizer steps, gradients, and buffers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.optim import Optimizer

from zeroproof.training.distributed import full_tensor
from zeroproof.training.state import unwrap

STILL_FINITE = (
    "the parameters are those of the last applied update. Look for NaN in the inputs, lower the "
    "learning rate, or raise max_nonfinite_steps"
)


class NonFiniteError(RuntimeError):
    """Updates were skipped too often, or a step made a parameter infinite or NaN."""


def warn_of_skips(skips: int, updates: int) -> None:
    """Warn that updates of an epoch were skipped."""
    warnings.warn(
        f"{skips} of the epoch's {updates} updates were skipped, because a loss or the gradient's "
        "norm was not finite; look for NaN in the inputs, or lower the learning rate. Later epochs "
        "do not warn; records count skips as 'skipped'",
        stacklevel=4,
    )


class SteppedParameters:
    """Finds a parameter that a step made infinite or NaN, where it was finite. Meets: STEP-8."""

    def __init__(self, optimizer: Optimizer, modules: Sequence[nn.Module]) -> None:
        self._optimizer = optimizer
        owners = zip(("model", "loss"), map(unwrap, modules), strict=False)
        self._names = {p: f"{n!r} of the {o}" for o, m in owners for n, p in m.named_parameters()}
        self._from_start = {p: ~torch.isfinite(p) for p, _, _ in self._lost({})}

    def _lost(self, known: dict[Any, Tensor]) -> list[tuple[nn.Parameter, dict[str, Any], str]]:
        """Return parameters with elements that are not finite nor known, their groups and names."""
        stepped = [
            (p, group, self._names.get(p, f"{index} of the optimizer's group {number}"))
            for number, group in enumerate(self._optimizer.param_groups)
            for index, p in enumerate(group["params"])
            if p.requires_grad and not isinstance(p, UninitializedParameter) and p.numel()
        ]
        sizes = (
            torch._foreach_norm([p.detach() for p, _, _ in stepped], torch.inf) if stepped else ()
        )
        if not sizes or torch.stack([full_tensor(size) for size in sizes]).isfinite().all():
            return []
        return [x for x in stepped if not (torch.isfinite(x[0]) | known.get(x[0], False)).all()]

    def fault(self) -> str:
        """Return which parameter is not finite, and the likely cause; nothing if all are."""
        for p, group, name in self._lost(self._from_start):
            rate, eps = float(group.get("lr") or 0.0), group.get("eps")
            cause = f"its rate is {rate}; lower it, or the weight decay"
            if not math.isfinite(rate):
                cause = f"its rate is {rate}; look at the scheduler"
            elif p.dtype in (torch.float16, torch.bfloat16):
                cause = f"its dtype is {p.dtype}; keep it in float32, and give mixed_precision=True"
            elif isinstance(eps, float | int) and torch.tensor(eps, dtype=p.dtype) == 0:
                cause = f"eps is {eps}, so a gradient of 0 is divided by 0; give eps=1e-8"
            return f"a step made parameter {name} infinite or NaN: {cause}"
        return ""


def is_own(buffer: Tensor) -> bool:
    """Tell whether a buffer is dense and not expanded, so that a forward can write in place."""
    if isinstance(buffer, UninitializedBuffer):
        return True
    if buffer.layout is not torch.strided:
        return False
    return all(n < 2 or step for n, step in zip(buffer.shape, buffer.stride(), strict=True))


class KeptBuffers:
    """Floating-point buffers, with their values from before a window. Meets: STEP-9."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        owners = [owner._buffers for module in modules for owner in module.modules()]
        places = [(b, name, x) for b in owners for name, x in b.items() if x is not None]
        floats = [place for place in places if place[2].is_floating_point() and is_own(place[2])]
        self._places = [place[:2] for place in floats if not hasattr(place[2], "full_tensor")]
        self._kept, self._shapes = torch.empty(0), dict[int, torch.Size]()

    def _read(self) -> tuple[dict[int, Tensor], Tensor]:
        """Return the buffers, of which a forward may have made others, and one vector of all."""
        found = {i: buffers.get(name) for i, (buffers, name) in enumerate(self._places)}
        made = {
            i: x.detach()
            for i, x in found.items()
            if x is not None and not isinstance(x, UninitializedBuffer)
        }
        flat = [x.flatten() for x in made.values()]
        return made, torch.cat(flat) if flat else torch.empty(0)

    def keep(self) -> None:
        """Keep the values; in the same place, for CUDA graphs."""
        if self._places:
            tensors, now = self._read()
            self._shapes = {i: x.shape for i, x in tensors.items()}
            self._kept = self._kept.copy_(now) if self._kept.shape == now.shape else now

    def restore(self, applied: Tensor | bool = False) -> None:
        """Unless the update was applied, set what is infinite or NaN to the kept values.

        If a buffer that is not finite has another shape, all of it returns.
        """
        if not self._places or applied is True:
            return
        tensors, now = self._read()
        if {i: x.shape for i, x in tensors.items()} == self._shapes:
            values = torch.where(torch.isfinite(now) | applied, now, self._kept)
            parts = self._parts(values).values()
            torch._foreach_copy_([*tensors.values()], [*parts])
        elif not applied:
            for i, part in self._parts(self._kept).items():
                (buffers, name), x = self._places[i], tensors.get(i, part)
                if x.shape == part.shape:
                    x.copy_(torch.where(x.isfinite(), x, part))
                elif not x.isfinite().all():
                    buffers[name] = part.to(x.dtype, copy=True)

    def _parts(self, vector: Tensor) -> dict[int, Tensor]:
        """Return what the kept buffers have of a vector of all, in their shapes."""
        parts = torch.split(vector, [shape.numel() for shape in self._shapes.values()])
        shapes = self._shapes.items()
        return {i: part.view(shape) for (i, shape), part in zip(shapes, parts, strict=True)}


def gradient_values(parameter: Any) -> Tensor:
    """Return the gradient; of a sparse one the values, each row's once."""
    if parameter.grad.is_sparse:
        parameter.grad = parameter.grad.coalesce()
        return parameter.grad._values()  # type: ignore[no-any-return]
    return parameter.grad  # type: ignore[no-any-return]
