"""Log hooks: records as JSON lines, or on TensorBoard; the progress bar."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

NON_FINITE: Final = ("nan", "inf", "-inf")  # JSON has no such numbers


class JsonlLogger:
    """A ``log_hook`` that adds each record to a file, as one line of strict JSON.

    A tensor or NumPy array of one element is written as its number, and NaN and ±∞ as the strings
    ``"nan"``, ``"inf"``, ``"-inf"``, which :func:`read_jsonl` takes for numbers. Lines are written
    whole and at once, so a reader may follow the file. No record is ever removed: after a resume,
    those of updates that are made again follow.

    Args:
        path: the file; its folder is made.
        append: whether the file may hold records already.

    Raises:
        FileExistsError: the file holds records, and ``append`` is False.
        OSError: the file cannot be written.
        TypeError: on a call, for a value of another type.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
        >>> with JsonlLogger(path) as log:
        ...     log({"loss": 0.5, "denom_abs_min": math.inf})
        >>> read_jsonl(path)
        [{'loss': 0.5, 'denom_abs_min': inf}]
    """

    def __init__(self, path: str | os.PathLike[str], *, append: bool = True) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        last = b"\n"
        if path.exists() and (size := path.stat().st_size):
            if not append:
                raise FileExistsError(f"{path} holds records; give another path, or append=True")
            with path.open("rb") as file:
                file.seek(size - 1)
                last = file.read()
        self._file = path.open("a", encoding="utf-8", buffering=1)
        if last != b"\n":  # half a line, which a killed process has left
            self._file.write("\n")

    def __call__(self, metrics: Mapping[str, Any]) -> None:
        """Write a record."""
        plain = {name: _plain(name, value) for name, value in metrics.items()}
        self._file.write(json.dumps(plain, allow_nan=False) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> JsonlLogger:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _number(value: Any) -> Any:
    """Return the number in a tensor or array of one element; any other value as it came."""
    with suppress(RuntimeError, ValueError):
        return value.item() if hasattr(value, "item") else value
    return value


def _plain(name: str, value: Any) -> float | str | None:
    """Return a value as JSON writes it."""
    value = _number(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (int, float, str)):
        return value
    raise TypeError(
        f"record[{name!r}] must be a number, a string, a bool or None, or a tensor of one element, "
        f"got {value!r}"
    )


def read_jsonl(path: str | os.PathLike[str], *, partial: bool = False) -> list[dict[str, Any]]:
    """Return the records that :class:`JsonlLogger` wrote.

    ``partial=True`` skips lines that a killed process cut off. Raises ValueError, which names the
    line, for one that is not a record.
    """
    records = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            values = json.loads(line)
        except ValueError as error:
            if not partial:
                raise ValueError(f"{path}, line {number}: not a record ({error})") from None
            continue
        if not isinstance(values, dict):
            raise ValueError(f"{path}, line {number}: not a record ({line})")
        records.append({k: float(v) if v in NON_FINITE else v for k, v in values.items()})
    return records


class TensorBoardLogger:
    """A ``log_hook`` that writes records as TensorBoard scalars (extra ``tensorboard``).

    It writes event files to the folder ``log_dir``. The step of a micro-batch is its
    ``micro_step``, and that of a validation its ``global_step``.

    Raises ImportError if TensorBoard is not installed.
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoardLogger needs TensorBoard: pip install 'zeroproof-scm[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(os.fspath(log_dir))

    def __call__(self, metrics: Mapping[str, Any]) -> None:
        """Write the numbers of a record."""
        step = int(metrics.get("micro_step", metrics.get("global_step", 0)))
        for name, value in metrics.items():
            if isinstance(number := _number(value), (int, float)):
                self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Write what is pending and close the files."""
        self._writer.close()


class Terminal:
    """The standard error stream, of which no failure ends a run: closed, missing, a broken pipe."""

    def __init__(self) -> None:
        self._stream: Any = sys.stderr

    def write(self, text: str) -> None:
        """Write, if there is someone to read."""
        with suppress(OSError, ValueError, AttributeError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush what was written."""
        with suppress(OSError, ValueError, AttributeError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class ProgressBar(tqdm):  # type: ignore[type-arg]  # it is generic in stubs only
    """A bar of micro-batches on the standard error stream."""

    def __init__(self, total: int | None, done: int, *, shown: bool) -> None:
        """Begin after ``done`` of ``total`` micro-batches; None is an unknown number."""
        given: dict[str, Any] = {"disable": not shown, "file": Terminal(), "dynamic_ncols": True}
        super().__init__(total=total, initial=done, **given)

    def show(
        self, steps: int, epoch: int, epochs: int, records: Sequence[dict[str, float]]
    ) -> None:
        """Advance by so many micro-batches, and show the latest record."""
        self.update(steps)
        if not self.disable and records:
            self.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
            numbers = {name: records[-1][name] for name in ("loss", "coverage")}
            self.set_postfix(numbers, refresh=False)
