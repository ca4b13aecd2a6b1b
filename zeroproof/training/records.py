"""Records of micro-batches on their way from the device to the log hook."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

import torch

from zeroproof.training.config import LogHook
from zeroproof.training.metrics import MEASURES, Block, EpochTotals, Seen, as_record, pooled
from zeroproof.training.ranks import Ranks
from zeroproof.training.transfer import Transfer, from_host

COUNT, ELEMENTS, SECONDS = 128, 2**14, 0.2
ELEMENTS_ON_GPU = 2**20  # which has no cache to be kept in, and waits longer for each operation


class RecordLog:
    """Delivers records in order, as plain floats, and keeps the latest of them.

    Micro-batches are held until there are many of them, or many elements, or some time is over,
    and are then measured together, since what costs is the number of operations. They are read
    when it is known what became of their updates: by then the device is long past them.

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
        self._open: list[dict[str, float]] = []
        self._held: list[dict[str, float]] = []
        self._names: tuple[str, ...] = ()
        self._blocks: list[Block] = []
        self._since = 0.0
        self._measured: deque[tuple[list[dict[str, float]], tuple[str, ...], Transfer]] = deque()

    def add(self, known: dict[str, float], seen: Seen) -> None:
        """Take a micro-batch, with what the host knows of it: ``samples`` at least."""
        if self._held and self._names != seen.names:
            self._measure()
        now = time.monotonic()
        if not self._held:
            self._since, self._names = now, seen.names
        block = self._block(seen)
        block.add(seen)
        self._open.append(known)
        self._held.append(known)
        waited = self._ranks.size == 1 and now - self._since > SECONDS
        if waited or len(self._held) >= block.capacity:
            self._measure()

    def _block(self, seen: Seen) -> Block:
        blocks = self._blocks
        if blocks and blocks[-1].kind == seen.kind:
            return blocks[-1]
        if blocks and not blocks[-1]:
            blocks.pop()
        first = seen.arrays[0]
        elements = ELEMENTS if first.is_cpu else ELEMENTS_ON_GPU
        most = self._most or max(min(COUNT, elements // max(first.numel(), 1)), 1)
        if self._ranks.size > 1:  # who measures meets the others there
            self._most = most = self._most or self._ranks.share(most)[0]
        blocks.append(Block(seen, most))
        return blocks[-1]

    def complete(self, progress: Callable[[], Mapping[str, float]], but: int = 0) -> None:
        """Add to the micro-batches what is now known of their updates, to all but the latest."""
        count = len(self._open) - but
        if count > 0:
            now = progress()
            for known in self._open[:count]:
                known.update(now)
            del self._open[:count]

    def _measure(self) -> None:
        knowns, self._held = self._held, []
        values = torch.cat([block.rows() for block in self._blocks])
        samples = from_host([known["samples"] for known in knowns], values.device)
        values = torch.cat([values, samples[:, None].to(values.dtype)], dim=1)
        names = (*MEASURES, *self._names, "samples")
        self._measured.append((knowns, names, Transfer(self._ranks.stack(values))))
        del self._blocks[:-1]
        self._blocks[-1].clear()

    def deliver_complete(self) -> None:
        """Deliver what is measured and complete; an exception of the hook passes through."""
        while self._measured and "global_step" in self._measured[0][0][-1]:
            knowns, names, transfer = self._measured.popleft()
            for known, *parts in zip(knowns, *transfer.read(), strict=True):
                values = pooled([dict(zip(names, part, strict=True)) for part in parts])
                self.totals.add(values)
                self.deliver(known | as_record(values))

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
