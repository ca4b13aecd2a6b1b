"""Records of micro-batches on their way from the device to the log hook."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from zeroproof.scm.outputs import Outputs, as_tuple, is_projective
from zeroproof.training.config import LogHook
from zeroproof.training.metrics import MEASURES, EpochTotals, as_record, measure, pooled
from zeroproof.training.ranks import Ranks
from zeroproof.training.transfer import Transfer, from_host

COUNT, ELEMENTS, SECONDS = 128, 2**16, 0.2


@dataclass
class _Entry:
    """A micro-batch: what the host knows, and what the device holds."""

    known: dict[str, float]
    scalars: dict[str, Tensor]
    arrays: tuple[Tensor, Tensor, Tensor]
    tau: float

    @property
    def kind(self) -> Any:
        """Return what entries must share to be measured together, beside the scalars' names."""
        return [(x.shape, x.dtype) for x in self.arrays]


class RecordLog:
    """Delivers records in order, as plain floats, and keeps the latest of them.

    Micro-batches are held until there are many of them, or many elements, or some time is over,
    and are then measured together, since what costs is the number of operations. They are read
    when the record is complete: by then the device is long past it.

    Args:
        hook: called with each record, or None; on rank 0 only.
        limit: records kept in memory.
        ranks: who trains along; records are those of all ranks' samples.

    Meets: LOG-1, LOG-2, STEP-4, DDP-1.
    """

    def __init__(self, hook: LogHook | None, limit: int, ranks: Ranks) -> None:
        self._hook, self._ranks, self._most = hook if ranks.rank == 0 else None, ranks, 0
        self.records: deque[dict[str, float]] = deque(maxlen=limit)
        self.totals = EpochTotals()
        self._held: list[_Entry] = []
        self._since = 0.0
        self._measured: deque[tuple[list[_Entry], Transfer]] = deque()

    def add(
        self,
        known: dict[str, float],
        outputs: Outputs,
        Y_d: Tensor,
        tau: float,
        scalars: Mapping[str, Tensor],
    ) -> None:
        """Take a micro-batch.

        Args:
            known: what the host knows, ``samples`` at least; it may be filled later, and is
                complete once it has a ``global_step``.
            outputs: the model's.
            Y_d: lifted denominators of the targets.
            tau: the threshold on ``|Q|``.
            scalars: the loss, and what else is to be logged.
        """
        P, Q = as_tuple(outputs)
        tau = tau if is_projective(outputs) else 0.0
        # Without the graph, which would live as long as the entry.
        detached = {name: torch.as_tensor(x).detach() for name, x in scalars.items()}
        entry = _Entry(known, detached, (P.detach(), Q.detach(), Y_d), tau)
        if self._held and list(self._held[0].scalars) != list(entry.scalars):
            self._measure()
        now = time.monotonic()
        if not self._held:
            self._since = now
        self._held.append(entry)
        most = min(COUNT, ELEMENTS // max(P.numel(), 1))
        if self._ranks.size > 1:  # who measures meets the others there
            self._most = most = self._most or self._ranks.share(max(most, 1))[0]
        waited = self._ranks.size == 1 and now - self._since > SECONDS
        if waited or len(self._held) >= most:
            self._measure()

    def _measure(self) -> None:
        held, self._held = self._held, []
        rows = []
        for _, group in groupby(held, key=lambda entry: entry.kind):
            entries = list(group)
            arrays = zip(*(entry.arrays for entry in entries), strict=True)
            P, Q, Y_d = (torch.stack(parts) for parts in arrays)
            measured = measure(P, Q, Y_d, [entry.tau for entry in entries])
            scalars = torch.stack([x for entry in entries for x in entry.scalars.values()])
            samples = from_host([entry.known["samples"] for entry in entries], P.device)
            # Counts stay exact.
            dtype = torch.promote_types(scalars.dtype, torch.float32)
            parts = (measured, samples[:, None], scalars.view(len(entries), -1))
            rows.append(torch.cat([part.to(dtype) for part in parts], dim=1))
        self._measured.append((held, Transfer(self._ranks.stack(torch.cat(rows)))))

    def deliver_complete(self) -> None:
        """Deliver what is measured and complete; an exception of the hook passes through."""
        while self._measured and "global_step" in self._measured[0][0][-1].known:
            entries, transfer = self._measured.popleft()
            for entry, *rows in zip(entries, *transfer.read(), strict=True):
                names = (*MEASURES, "samples", *entry.scalars)
                values = pooled([dict(zip(names, row, strict=True)) for row in rows])
                self.totals.add(values)
                self.deliver(entry.known | as_record(values))

    def flush(self) -> None:
        """Measure and deliver everything."""
        if self._held:
            self._measure()
        self.deliver_complete()

    def deliver(self, record: dict[str, float], *, keep: bool = True) -> None:
        """Hand a record to the hook, as floats, and keep it if asked."""
        record = {name: float(value) for name, value in record.items()}
        if keep:
            self.records.append(record)
        if self._hook is not None:
            self._hook(dict(record))
