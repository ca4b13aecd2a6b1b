"""Runs without a terminal: the standard streams are closed, missing or broken."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import make_trainer, pole_batches, small_model
from zeroproof.command.main import main


class Broken(io.TextIOBase):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def closed() -> Any:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, Broken(), closed()], ids=["none", "broken", "closed"])
def test_a_bar_never_ends_a_run(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    trainer = make_trainer(small_model(), pole_batches([4] * 3), max_epochs=2, progress=True)
    assert len(trainer.fit()) == 6


def test_a_bar_is_shown_where_there_is_someone_to_see(capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer(small_model(), pole_batches([4] * 3), progress=True).fit()
    shown = capsys.readouterr().err
    assert "epoch 1/1" in shown
    assert "3/3" in shown
    assert "loss=" in shown


def test_a_bar_is_no_wider_than_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with open(theirs, "w") as stream, open(ours, "rb", 0) as screen:
        monkeypatch.setattr(sys, "stderr", stream)
        make_trainer(small_model(), pole_batches([4] * 3), progress=True).fit()
        stream.flush()
        shown = screen.read(4096).decode()
    assert "epoch 1/1" in shown
    assert all(len(line) <= 60 for line in re.split("[\\r\\n]+", shown))


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_the_command_runs_without_a_stream(
    name: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plain_report: None,
) -> None:
    command = ["train", str(data), "--target", "y", "--epochs", "1", "--out", str(tmp_path / "run")]
    for status in (0, 2):  # the second time the folder holds a run
        monkeypatch.setattr(sys, name, None)
        assert main(command) == status
        getattr(sys, name).close()
    assert (tmp_path / "run" / "report.md").exists()


@pytest.mark.skipif(os.name != "posix", reason="closes a stream in a shell")
def test_a_shell_may_close_all_streams(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = f"{sys.executable} -m zeroproof train {data} --target y --epochs 1 --out {out}"
    done = subprocess.run(["sh", "-c", f"{command} <&- >&- 2>&-"], check=False)
    assert done.returncode == 0
    names = {path.name for path in out.iterdir()}
    assert names >= {"model.joblib", "config.json", "metrics.jsonl", "report.md"}
