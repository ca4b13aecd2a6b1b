"""Interrupted runs of the command continue exactly, finished ones longer; others are refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.command_helpers import same_model
from zeroproof.command import train
from zeroproof.command.main import main
from zeroproof.command.run import Run
from zeroproof.sklearn import fitting
from zeroproof.utils.logging import read_jsonl

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")


@pytest.fixture
def interrupt(
    monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path, foreground: None
) -> Callable[[int, int], list[str]]:
    """Train until a signal comes in an epoch; return the arguments."""

    def interrupt_in(epoch: int, number: int) -> list[str]:
        log = train.log_epoch

        def wrapped(path: Path, record: dict[str, float]) -> None:
            log(path, record)
            if record["epoch"] == epoch:
                os.kill(os.getpid(), number)

        arguments = ["train", str(data), "--target", "y", "--epochs", "6"]
        arguments += ["--out", str(tmp_path / "run")]
        with monkeypatch.context() as patch:
            patch.setattr(train, "log_epoch", wrapped)
            assert main(arguments) == 128 + number
        return arguments

    return interrupt_in


def config_of(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return values


def assert_same(one: Path, other: Path) -> None:
    assert same_model(one, other)
    assert config_of(one) == config_of(other)
    assert (one / "predictions.csv").read_text() == (other / "predictions.csv").read_text()
    ours, theirs = (read_jsonl(folder / "metrics.jsonl") for folder in (one, other))
    assert ours == theirs, "each epoch stands once"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("epoch", [0, 4])
def test_an_interrupted_run_continues_exactly(
    run: Callable[..., Path],
    interrupt: Callable[[int, int], list[str]],
    capsys: pytest.CaptureFixture[str],
    data: Path,
    number: int,
    epoch: int,
) -> None:
    whole, out = run("whole", epochs=6), data.parent / "run"
    capsys.readouterr()
    arguments = interrupt(epoch, number)
    assert capsys.readouterr().err.endswith(
        f"zeroproof: interrupted; continue with: zeroproof train --resume --out {out}\n"
    )
    assert main(["predict", str(out), str(data), "--out", str(out / "p.csv")]) == 2
    assert "is not finished; continue it: zeroproof train --resume" in capsys.readouterr().err
    if epoch:
        with (out / "metrics.jsonl").open("a") as file:
            file.write('{"loss": 0.')  # a process killed in the middle of a line
    assert main([*arguments, "--resume"]) == 0
    assert_same(out, whole)
    assert main(["train", "--resume", "--out", str(out)]) == 0, "a finished run is reported again"
    assert_same(out, whole)


@pytest.mark.parametrize("seconds", [-1.0, 99.0], ids=["each epoch saved", "none saved"])
def test_a_killed_run_continues_exactly(
    run: Callable[..., Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    whole, out = run("whole", epochs=6), tmp_path / "run"
    script = f"""
import os, sys
from zeroproof.command import train
from zeroproof.command.main import main
from zeroproof.sklearn import fitting
fitting.SECONDS_BETWEEN_CHECKPOINTS = {seconds}
log = train.log_epoch
def wrapped(path, record):
    log(path, record)
    if record["epoch"] == 3:
        os.kill(os.getpid(), 9)
train.log_epoch = wrapped
main(["train", {str(data)!r}, "--target", "y", "--epochs", "6", "--out", {str(out)!r}])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert done.returncode == -9, done.stderr
    saved = seconds < 0
    assert bool([*(out / "checkpoints").glob("*.pt")]) == saved
    seen = list[float]()
    log = train.log_epoch

    def watched(path: Path, record: dict[str, float]) -> None:
        seen.append(record["epoch"])
        log(path, record)

    monkeypatch.setattr(train, "log_epoch", watched)
    assert main(["train", "--resume", "--out", str(out)]) == 0
    assert min(seen) == 3 * saved, "what is done is not done again"
    assert_same(out, whole)


def test_a_finished_run_may_be_made_longer(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = run("run")
    before = config_of(out)["history"]
    command = ["train", "--resume", "--out", str(out), "--epochs"]
    assert main([*command, "2"]) == 2
    assert "--epochs 2 has no effect: the run ended after 3" in capsys.readouterr().err
    assert main([*command, "8"]) == 0
    for name, losses in config_of(out)["history"].items():
        assert losses[:3] == before[name]
        assert len(losses) == 8
    assert config_of(out)["options"]["epochs"] == 8
    replace(Run.read(out), best_epoch=-40).write(out)  # as if none since had been better
    assert main([*command, "9"]) == 2
    assert "--epochs 9 has no effect: the run ended after 8" in capsys.readouterr().err


def test_a_run_that_is_lengthened_and_interrupted_still_predicts(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    short, out = run("short", epochs=3), run("run", epochs=3)

    def end(*parts: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting.SCMTrainer, "fit", end)
        assert main(["train", "--resume", "--out", str(out), "--epochs", "6"]) == 130
    assert same_model(short, out)
    assert main(["train", "--resume", "--out", str(out)]) == 0
    assert len(config_of(out)["history"]["loss"]) == 6


def test_resume_refuses_another_run(
    run: Callable[..., Path], data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = run("run")

    def refused(*options: str) -> str:
        capsys.readouterr()
        assert main(["train", "--out", str(out), *options]) == 2
        shown = capsys.readouterr().err
        assert shown.count("\n") == 1
        return shown

    assert "give another --out, or --resume its run" in refused(str(data), "--target", "y")
    assert "--lr 0.5 differs from the run's 0.003" in refused("--resume", "--lr", "0.5")
    assert "--target ['a'] differs" in refused("--resume", "--target", "a")
    assert "--range (0.0, 1.0) differs" in refused("--resume", "--range", "0:1")
    assert main(["train", "--resume", "--out", str(out), "--seed", "0"]) == 0, "the same is no news"
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    data.write_text(data.read_text() + "row 120,0.1,0.9,7,1.0\n")
    assert "is not the table with which" in refused("--resume")
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert "holds no run" in refused("--resume", "--out", str(tmp_path / "nothing"))
    (out / "model.joblib").write_text("{")
    assert "holds no run to read" in refused("--resume")
    (out / "model.joblib").unlink()
    assert "holds files already" in refused(str(data), "--target", "y")


def test_a_run_continues_with_its_data_under_another_name(
    run: Callable[..., Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = run("run", table=Path(data.name))
    moved = data.rename(tmp_path / "moved.csv")
    assert main(["train", str(moved), "--resume", "--out", str(out)]) == 0
    assert config_of(out)["options"]["data"] == str(moved)


def test_a_run_continues_with_its_rows_to_judge_by_under_another_name(
    run: Callable[..., Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = tmp_path / "held.csv"
    held.write_bytes(data.read_bytes())
    out = run("run", "--test", str(held))
    before = (out / "predictions.csv").read_bytes()
    moved = held.rename(tmp_path / "moved.csv")
    assert main(["train", "--test", str(moved), "--resume", "--out", str(out)]) == 0
    assert config_of(out)["options"]["test"] == str(moved)
    assert (out / "predictions.csv").read_bytes() == before
    split = run("split")  # whose rows trained on would be others
    assert main(["train", "--test", str(moved), "--resume", "--out", str(split)]) == 2
    assert f"--test {moved} differs from the run's None" in capsys.readouterr().err


def test_ctrl_c_in_another_process(data: Path, tmp_path: Path, foreground: None) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "zeroproof", "train", str(data), "--target", "y"]
    command += ["--epochs", "100000", "--lr", "1e-9", "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not (out / "metrics.jsonl").exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        shown = process.communicate(timeout=60)[1]
    assert process.returncode == 130, shown
    assert shown.endswith(f"continue with: zeroproof train --resume --out {out}\n")
    assert len(list((out / "checkpoints").glob("*.pt"))) == 1
