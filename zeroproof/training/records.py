"""Records of micro-batches on their way from the device to the log hook."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import torch
from torch import Tensor

from zeroproof.training.config import LogHook
from zeroproof.training.metrics import EpochTotals, as_record


class RecordLog:
    """Delivers records in order, as plain floats, and keeps the latest of them.

    A record's tensors are packed on their device and read ``lag`` records at a time, when the
    next one comes, so that the host rarely waits for the device.

    Args:
        hook: called with each record, or None.
        limit: records kept in memory.
        lag: records packed before they are read.

    Meets: LOG-1, LOG-2.
    """

    def __init__(self, hook: LogHook | None, limit: int, lag: int) -> None:
        self._hook, self._lag = hook, lag
        self.records: deque[dict[str, float]] = deque(maxlen=limit)
        self._pending: list[tuple[dict[str, float], list[str], Tensor, EpochTotals]] = []

    def add(
        self, known: Mapping[str, float], measured: Mapping[str, Tensor], totals: EpochTotals
    ) -> None:
        """Take a record: what the host knows, what the device holds, and the epoch it adds to."""
        if len(self._pending) >= self._lag:
            self.flush()
        dtype = torch.promote_types(measured["loss"].dtype, torch.float32)  # counts stay exact
        packed = torch.stack([value.to(dtype) for value in measured.values()])
        self._pending.append((dict(known), list(measured), packed, totals))

    def amend(self, known: Mapping[str, float]) -> None:
        """Change what the host knows of the record added last, which is always still pending."""
        self._pending[-1][0].update(known)

    def flush(self) -> None:
        """Read and deliver what is pending; an exception of the hook passes through."""
        pending, self._pending = self._pending, []
        for known, names, packed, totals in pending:
            values = dict(zip(names, packed.tolist(), strict=True))
            values["samples"] = known["samples"]
            totals.add(values)
            self.deliver(as_record(values) | known)

    def deliver(self, record: dict[str, float], *, keep: bool = True) -> None:
        """Hand a record to the hook, as floats, and keep it if asked."""
        record = {name: float(value) for name, value in record.items()}
        if keep:
            self.records.append(record)
        if self._hook is not None:
            self._hook(dict(record))
