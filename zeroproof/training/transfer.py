"""Numbers on their way between the device and the host, without a sync."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class AsyncHostCopy:
    """A copy of a tensor that the host reads later, when it has long arrived (STEP-4).

    From a CUDA device the copy goes through pinned memory; only :meth:`read` waits for it.
    Elsewhere the tensor itself is read.
    """

    def __init__(self, x: Tensor) -> None:
        self._host = x
        self._arrived: Any = None
        if x.device.type == "cuda":
            self._host = torch.empty(x.shape, dtype=x.dtype, device="cpu", pin_memory=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._host.copy_(x, non_blocking=True)
            self._arrived.record(torch.cuda.current_stream(x.device))

    def read(self) -> Any:
        """Return the elements as nested lists of Python's numbers."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host.tolist()


def from_host(values: Sequence[float], device: torch.device) -> Tensor:
    """Return numbers as a float64 vector on a device; CUDA keeps a copy until they are there."""
    return torch.tensor(values, dtype=torch.float64).to(device, non_blocking=True)
