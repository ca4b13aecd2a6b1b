"""Counts what makes the host wait for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zeroproof.training.transfer import AsyncHostCopy


class HostReads(TorchFunctionMode):
    """Counts what makes the host wait, until the epoch ends; within, the CPU counts as a device.

    These are calls by which Python reads a tensor's elements, but for those of a transfer that
    began before the latest forward of the model, or before the latest wait.
    """

    READS = frozenset({"item", "tolist", "__bool__", "__float__", "__int__", "__index__", "cpu"})

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.count, self._time, self._done, self._old, self._ended = 0, 0, 0, False, False
        model.register_forward_hook(lambda *_: self._forward())
        self._patches: list[Any] = [
            mock.patch.object(AsyncHostCopy, "__init__", self._begun(AsyncHostCopy.__init__)),
            mock.patch.object(AsyncHostCopy, "read", self._read(AsyncHostCopy.read)),
        ]

    def __enter__(self) -> HostReads:
        """Look at transfers, too."""
        for patch in self._patches:
            patch.start()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        """Leave transfers alone again."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for patch in self._patches:
            patch.stop()

    def end(self) -> None:
        """From here on the host may wait."""
        self._ended = True

    def _forward(self) -> None:
        self._done = self._time

    def _begun(self, init: Callable[..., None]) -> Callable[..., None]:
        def begun(transfer: Any, x: Tensor) -> None:
            self._time += 1
            transfer.born = self._time
            init(transfer, x)

        return begun

    def _read(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def old(transfer: Any) -> Any:
            self._old = transfer.born <= self._done
            try:
                return read(transfer)
            finally:
                self._old = False

        return old

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        reads = getattr(func, "__name__", "") in self.READS
        if reads and not self._old and not self._ended:
            self.count += 1
            self._done = self._time  # what was begun before has come with it
        return func(*args, **(kwargs or {}))
