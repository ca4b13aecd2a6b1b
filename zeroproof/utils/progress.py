"""A progress bar on stderr, which training survives."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tqdm import tqdm


class LenientStream:
    """A stream whose errors of writing are ignored: a closed pipe must not end a run.

    Args:
        stream: where to write.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        """Write a text, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def progress_bar(total: int | None, done: int, *, shown: bool) -> tqdm[Any]:
    """Return a bar of ``total`` micro-batches, if that is known, of which some are done.

    It is not shown without a standard error stream, as under ``pythonw``.
    """
    stream: Any = LenientStream(sys.stderr)
    disabled = not shown or sys.stderr is None
    return tqdm(total=total, initial=done, disable=disabled, file=stream)


def advance(
    bar: tqdm[Any], steps: int, epoch: int, epochs: int, records: Sequence[Mapping[str, float]]
) -> None:
    """Advance a bar; show the epoch, of so many, and the latest record's loss and coverage."""
    bar.update(steps)
    if not bar.disable and records:
        bar.set_description(f"epoch {epoch}/{epochs}", refresh=False)
        numbers = {name: records[-1][name] for name in ("loss", "coverage")}
        bar.set_postfix(numbers, refresh=False)
