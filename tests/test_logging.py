"""Log hooks that ship with the package."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers import finite_batches, make_trainer, pole_batches, small_model
from zeroproof.utils.logging import JsonlLogger, TensorBoardLogger, read_jsonl


def test_records_survive_the_round_trip_as_strict_json(tmp_path: Path) -> None:
    path = tmp_path / "run" / "logs" / "metrics.jsonl"
    with JsonlLogger(path) as log:
        make_trainer(small_model(), pole_batches((4, 4)), log_hook=log).fit()
        log({"a": math.inf, "b": -math.inf, "c": 0.1})
    records = read_jsonl(path)
    assert len(records) == 3
    assert math.isnan(records[0]["bottom_recall"])
    assert records[2] == {"a": math.inf, "b": -math.inf, "c": 0.1}
    assert '"c": 0.1' in path.read_text(), "a number, not a text"
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_half_a_record_is_passed_over_only_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"loss": 1.0}\n{"loss": 0.')
    assert read_jsonl(path, partial=True) == [{"loss": 1.0}]
    with pytest.raises(ValueError, match="line 2: not a record"):
        read_jsonl(path)


def test_a_log_is_never_destroyed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.touch()
    for count, options in enumerate(({"append": False}, {}, {"append": True}), 1):
        log = JsonlLogger(path, **options)
        log({"loss": 1.0})
        assert len(read_jsonl(path)) == count, "a record is on disk before the file is closed"
        log.close()
    with pytest.raises(FileExistsError, match=r"metrics\.jsonl holds records; give another path"):
        JsonlLogger(path, append=False)
    assert len(read_jsonl(path)) == 3


def test_a_script_that_runs_again_and_loads_keeps_its_log(tmp_path: Path) -> None:
    path, file = tmp_path / "metrics.jsonl", tmp_path / "run.pt"
    for epochs in (1, 2):
        with JsonlLogger(path) as log:
            trainer = make_trainer(
                small_model(), pole_batches((4, 4)), log_hook=log, max_epochs=epochs
            )
            if file.exists():
                trainer.load_checkpoint(file)
            trainer.fit()
            trainer.save_checkpoint(file)
    assert [record["micro_step"] for record in read_jsonl(path)] == [0, 1, 2, 3]


def test_a_log_goes_on_behind_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"loss": 1.0}\n{"loss": 0.')
    with JsonlLogger(path) as log:
        log({"loss": 2.0})
    assert [record["loss"] for record in read_jsonl(path, partial=True)] == [1.0, 2.0]
    with pytest.raises(ValueError, match="line 2: not a record"):
        read_jsonl(path)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("phase 1", "phase 1"), (None, None), (True, True), (3, 3), (torch.tensor(0.5), 0.5),
        (torch.tensor([[2]]), 2), (torch.tensor(math.inf), math.inf), (np.float32(0.5), 0.5),
        (np.int64(3), 3), (np.bool_(True), True), (np.array(0.5), 0.5), (-math.inf, -math.inf),
        (nn.Parameter(torch.ones(())), 1.0), (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
    ],
)  # fmt: skip
def test_a_record_may_hold_what_json_can_say(value: Any, read: Any, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with JsonlLogger(path) as log:
        log({"it": value})
    found = read_jsonl(path)[0]["it"]
    assert type(found) is type(read)
    assert found == read


@pytest.mark.parametrize("value", [torch.ones(2), np.ones(2), [1.0], object(), 1j, b"a"])
def test_a_record_that_json_cannot_say_is_named_and_writes_nothing(
    value: Any, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.jsonl"
    with JsonlLogger(path) as log, pytest.raises(TypeError, match=r"record\['it'\] must be a num"):
        log({"loss": 1.0, "it": value})
    assert path.read_text() == ""


@pytest.mark.parametrize("line", ['{"loss": 1', "[1]", "1.0", '"loss"'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"loss": 1.0}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: not a record"):
        read_jsonl(path)


def test_tensorboard_passes_over_what_is_no_number(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoardLogger(tmp_path)
    log({"phase": "warm-up", "best": None, "loss": torch.tensor(2.0), "each": torch.ones(2)})
    log.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(0, 2.0)]


def test_tensorboard_gets_every_scalar_at_its_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoardLogger(tmp_path)
    trainer = make_trainer(
        small_model(), pole_batches((4, 4, 4)), log_hook=log, val_loader=pole_batches((4,))
    )
    records = trainer.fit()
    log.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    logged = [(e.step, e.value) for e in events.Scalars("loss")]
    assert logged == [(i, pytest.approx(r["loss"])) for i, r in enumerate(records)]
    assert [e.step for e in events.Scalars("val_loss")] == [3]


def test_a_record_without_a_step_stands_at_the_first(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoardLogger(tmp_path)
    log({"loss": 2.0})
    log.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(0, 2.0)]


def test_without_tensorboard_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'zeroproof-scm\[tensorboard\]'"):
        TensorBoardLogger(tmp_path)


@pytest.mark.parametrize("stream", ["none", "closed", "broken pipe"])
def test_progress_needs_no_terminal(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = mock.Mock(wraps=sys.stderr)
    errors = {"closed": ValueError("closed"), "broken pipe": BrokenPipeError(32, "broken")}
    file.write.side_effect = file.flush.side_effect = errors.get(stream)
    monkeypatch.setattr(sys, "stderr", None if stream == "none" else file)
    trainer = make_trainer(small_model(), finite_batches(3), progress=True)
    assert len(trainer.fit()) == 3
