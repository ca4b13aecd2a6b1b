"""Interrupted runs of the command go on exactly; another run is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.command_helpers import described, model_of, same_model
from zeroproof.command import train
from zeroproof.command.main import main
from zeroproof.command.run import Run
from zeroproof.training.checkpoint import read_checkpoint


@pytest.mark.parametrize("saves", ["always", "once"])
def test_an_interrupted_run_goes_on_exactly(
    run: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: Path,
    saves: str,
) -> None:
    whole = run("whole", epochs=6)
    monkeypatch.setattr(train, "SECONDS_BETWEEN_CHECKPOINTS", -1 if saves == "always" else 1e9)
    keep = train.Keeper.__call__

    def interrupt(self: Any, metrics: dict[str, float]) -> None:
        keep(self, metrics)
        if metrics["epoch"] == 4:
            raise KeyboardInterrupt

    out = whole.parent / "run"
    options = [str(data), "--target", "y", "--epochs", "6", "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(train.Keeper, "__call__", interrupt)
        assert main(["train", *options]) == 130
    shown = capsys.readouterr().err
    assert shown.endswith(
        f"zeroproof: interrupted; go on with: zeroproof train --resume --out {out}\n"
    )
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"loss": 0.')  # a process killed in the middle of a line
    assert read_checkpoint(out / "checkpoint.pt")["counters"]["epoch"] == (
        4 if saves == "always" else 1
    )
    assert main(["predict", str(out), str(data), "--out", str(out / "p.csv")]) == 2
    assert "is not finished; go on with train --resume" in capsys.readouterr().err
    trained: list[float] = []

    def note(self: Any, metrics: dict[str, float]) -> None:
        trained.append(metrics["epoch"])
        keep(self, metrics)

    with monkeypatch.context() as patch:
        patch.setattr(train.Keeper, "__call__", note)
        assert main(["train", "--resume", "--out", str(out)]) == 0
    assert min(trained) == (4 if saves == "always" else 1), "what is done is not done again"
    assert same_model(out, whole)
    for name in ("metrics.jsonl", "config.json"):
        assert (out / name).read_text() == (whole / name).read_text()
    model = model_of(out)
    assert main(["train", "--resume", "--out", str(out)]) == 0, "a finished run is reported again"
    assert all(torch.equal(v, model[k]) for k, v in model_of(out).items())


def test_resume_refuses_another_run(
    run: Callable[..., Path], data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = run("run")

    def refused(*options: str) -> str:
        capsys.readouterr()
        assert main(["train", "--out", str(out), *options]) == 2
        return capsys.readouterr().err

    assert "holds a run with other data or options" in refused("--resume", "--epochs", "9")
    assert "add --resume to go on" in refused(str(data), "--target", "y")
    data.write_text(data.read_text() + "row 120,0.1,0.9,7,1.0\n")
    assert "holds a run with other data or options" in refused("--resume")
    assert "config.json" in refused("--resume", "--out", str(tmp_path / "nothing"))
    (out / "checkpoint.pt").unlink()
    assert "holds no checkpoint yet" in refused("--resume")
    (out / "config.json").write_text("{")
    assert "is damaged" in refused("--resume")


def test_a_resume_that_is_killed_at_once_loses_no_record(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = run("run")
    before = (out / "metrics.jsonl").read_text()

    def end(self: Any, metrics: dict[str, float]) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(train.JsonlLogger, "__call__", end)
            assert main(["train", "--resume", "--out", str(out)]) == 130
        assert (out / "metrics.jsonl").read_text() == before
    assert main(["train", "--resume", "--out", str(out)]) == 0
    assert (out / "metrics.jsonl").read_text() == before


def test_records_of_another_run_are_not_added_to(
    run: Callable[..., Path], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run("run")
    before = (out / "metrics.jsonl").read_text()
    (out / "config.json").unlink()
    assert main(["train", str(data), "--target", "y", "--out", str(out)]) == 2
    assert "holds a run already (metrics.jsonl)" in capsys.readouterr().err
    assert (out / "metrics.jsonl").read_text() == before


def test_a_run_goes_on_from_another_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--target", "y", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(["train", data.name, *options]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", str(data), "--resume", *options]) == 0


def test_a_run_goes_on_with_its_data_under_another_name_in_a_folder_that_is_there(
    data: Path, tmp_path: Path
) -> None:
    run, _ = described(data, epochs=1)
    out = tmp_path / "empty"
    out.mkdir()
    train.train(run.options, out, resume=False)
    moved = data.rename(tmp_path / "moved.csv")
    elsewhere, _ = described(moved, epochs=1)
    before = model_of(out)
    train.train(elsewhere.options, out, resume=True)
    assert Run.read(out).options.data == str(moved)
    assert all(torch.equal(value, before[name]) for name, value in model_of(out).items())


def test_an_interrupt_before_the_first_checkpoint_promises_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: Any, metrics: dict[str, float]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train.Keeper, "__call__", interrupt)
    assert main(["train", str(data), "--target", "y", "--out", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err.endswith("zeroproof: interrupted; start again\n")
