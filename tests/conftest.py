"""Fixtures; what they use is imported at need, after pytest has switched the type checks on."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switch the run-time type checks off: they raise before the errors that users meet, and
    draw on Python's random state.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def foreground() -> Iterator[None]:
    """Handle signals as a program in the foreground does; shells change that in the background."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    own = {"SIGINT": signal.default_int_handler}
    before = [(n, signal.signal(getattr(signal, n), own.get(n, signal.SIG_DFL))) for n in names]
    yield
    for name, handler in before:
        signal.signal(getattr(signal, name), handler)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """120 rows of 1/(a − b), with labels inf, −inf or nan where a is near b."""
    from tests.command_helpers import write

    generator = torch.Generator().manual_seed(0)
    rows: list[list[Any]] = [["name", "a", "b", "constant", "y"]]
    for i in range(120):
        a, b = (torch.rand(2, generator=generator) * 2 - 1).tolist()
        gap = a - b
        label = f"{1 / gap:.6f}" if abs(gap) > 0.3 else ["nan", "inf" if gap > 0 else "-INF"][i % 2]
        rows.append([f"row {i}", a, b, 7, label])
    return write(tmp_path / "data.csv", rows)


@pytest.fixture
def plain_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out boosting, and what takes seconds in a report: pictures, and the bootstrap."""
    from zeroproof.command import train

    def write_report(folder: Path, *parts: Any) -> str:
        (folder / "report.md").write_text("report")
        return "report"

    monkeypatch.setattr(train, "write_report", write_report)

    def boosting(X: Any, measured: Any, X_held: Any, seed: int) -> Any:
        return np.zeros((len(X_held), measured.lower.shape[1]))

    monkeypatch.setattr(train, "boosting", boosting)


@pytest.fixture
def run(tmp_path: Path, data: Path, plain_report: None) -> Callable[..., Path]:
    """Train a few epochs into a folder of the given name, and return it."""
    from zeroproof.command.main import main

    def train_into(name: str, *options: str, epochs: int = 3, table: Path = data) -> Path:
        out = tmp_path / name
        common = ["--target", "y", "--out", str(out), "--epochs", str(epochs)]
        assert main(["train", str(table), *common, *options]) == 0
        return out

    return train_into
