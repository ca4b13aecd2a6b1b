"""Log hooks that ship with the package."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from tests.helpers import make_trainer, pole_batches, small_model
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


def test_a_log_is_replaced_or_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for append, count in ((False, 1), (True, 2), (False, 1)):
        log = JsonlLogger(path, append=append)
        log({"loss": 1.0})
        assert len(read_jsonl(path)) == count, "a record is on disk before the file is closed"
        log.close()


@pytest.mark.parametrize("line", ['{"loss": 1', "[1]", '{"loss": "x"}', '{"loss": null}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"loss": 1.0}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: not a record"):
        read_jsonl(path)


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
