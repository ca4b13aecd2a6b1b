"""Log hooks: records as JSON lines, or on TensorBoard."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any


class JsonlLogger:
    """A ``log_hook`` that writes each record as one line of strict JSON.

    NaN and ±∞, which JSON lacks, are written as the strings ``"nan"``, ``"inf"``, ``"-inf"``.
    Lines are written whole and at once, so a reader may follow the file.

    Args:
        path: the file; its folder is made.
        append: add to an existing file instead of replacing it.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
        >>> with JsonlLogger(path) as log:
        ...     log({"loss": 0.5, "denom_abs_min": math.inf})
        >>> read_jsonl(path)
        [{'loss': 0.5, 'denom_abs_min': inf}]
    """

    def __init__(self, path: str | os.PathLike[str], *, append: bool = False) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a" if append else "w", encoding="utf-8", buffering=1)

    def __call__(self, metrics: Mapping[str, float]) -> None:
        """Write a record."""
        plain = {k: v if math.isfinite(v) else str(v) for k, v in metrics.items()}
        self._file.write(json.dumps(plain, allow_nan=False) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> JsonlLogger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_jsonl(path: str | os.PathLike[str], *, partial: bool = False) -> list[dict[str, float]]:
    """Return the records that :class:`JsonlLogger` wrote.

    Args:
        path: the file.
        partial: pass over a last line without an end, as a killed process may leave it.

    Raises:
        ValueError: a line is not a record; the message names it.
    """
    records = []
    *lines, rest = Path(path).read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines if partial or not rest else [*lines, rest], 1):
        try:
            records.append({name: float(value) for name, value in json.loads(line).items()})
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: not a record ({error})") from None
    return records


class TensorBoardLogger:
    """A ``log_hook`` that writes records as TensorBoard scalars (extra ``tensorboard``).

    Micro-batches stand at their ``micro_step``, validations at their ``global_step``.

    Args:
        log_dir: folder of the event files.

    Raises:
        ImportError: TensorBoard is not installed.
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoardLogger needs TensorBoard: pip install 'zeroproof-scm[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(os.fspath(log_dir))

    def __call__(self, metrics: Mapping[str, float]) -> None:
        """Write a record."""
        step = int(metrics.get("micro_step", metrics.get("global_step", 0)))
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is pending and close the files."""
        self._writer.close()
