"""The command, as its users meet it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zeroproof
from tests.command_helpers import read, same_model, write
from zeroproof.command import train
from zeroproof.command.main import main
from zeroproof.command.run import Run
from zeroproof.utils.logging import read_jsonl

ADDED = ["prediction", "bottom", "lower", "upper", "p_below", "p_above"]


def test_training_leaves_a_folder_that_says_what_was_done(
    run: Callable[..., Path], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run("run", "--batch-size", "32", "--lr", "0.02", "--seed", "4")
    files = {"config.json", "model.joblib", "checkpoints", "metrics.jsonl", "predictions.csv"}
    assert {path.name for path in out.iterdir()} == files | {"report.md"}
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["version"] == zeroproof.__version__
    roles = {column["name"]: column["role"] for column in config["columns"]}
    assert roles == {"name": "ignored", "a": "number", "b": "number", "constant": "ignored"} | {
        "y": "target"
    }
    assert config["options"]["batch_size"] == 32
    assert config["rows"] == [96, 24]
    assert '\n  "columns": [' in (out / "config.json").read_text(), "for people, too"
    records = read_jsonl(out / "metrics.jsonl")
    assert [list(record) for record in records] == 3 * [["epoch", "loss", "val_loss"]]
    assert [record["val_loss"] for record in records] == config["history"]["val_loss"]
    assert [record["epoch"] for record in records] == [1, 2, 3]
    shown = capsys.readouterr()
    assert shown.err.count("of rows left out") == 2, "epochs 1 and 2"
    for line in (
        "number: a, b",
        "target: y",
        "ignored: name (names or free text",
        "constant (no two",
    ):
        assert line in shown.out, "the summary lists every column"
    rows, original = read(out / "predictions.csv"), read(data)
    assert list(rows[0]) == [*original[0], *ADDED, "guess", "boosting"]
    assert [{name: row[name] for name in original[0]} for row in rows] == [
        row for row in original if row["name"] in {row["name"] for row in rows}
    ]
    number = sum(math.isfinite(float(row["y"])) for row in original)
    held = sum(math.isfinite(float(row["y"])) for row in rows)
    assert abs(held - number / 5) < 1, "a fifth of every kind"


def test_predictions_are_those_of_the_rows_held_out(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    out = run("run", "--lr", "0.01", epochs=40)
    rows = read(out / "predictions.csv")
    names = ["name", "constant", "b", "a"]  # in another order, and with no target
    new = write(
        tmp_path / "new.csv",
        [["Plate", "a"], names, *([row[name] for name in names] for row in rows)],
    )
    assert main(["predict", str(out), str(new), "--out", str(tmp_path / "pred.csv")]) == 0
    predicted = read(tmp_path / "pred.csv")
    assert list(predicted[0]) == [*names, *ADDED]
    assert [[row[n] for n in ADDED] for row in predicted] == [
        [row[n] for n in ADDED] for row in rows
    ]
    ends = Run.read(out).reported[0]
    for row in rows:
        assert (row["bottom"] == "1") == (row["prediction"] == "")
        low, high, below, above = (float(row[name]) for name in ADDED[2:])
        assert low < high
        assert 0 <= below <= 1 - above <= 1
        if row["prediction"]:
            assert low <= float(row["prediction"]) <= high
        assert (below > 0.5) == (
            row["prediction"] != "" and float(row["prediction"]) < ends[0]
        ) or (row["bottom"] == "1")
    assert {"0", "1"} == {row["bottom"] for row in rows}


@pytest.mark.parametrize(
    "option",
    [
        ("--seed", "1"),
        ("--lr", "0.001"),
        ("--batch-size", "16"),
        ("--epochs", "4"),
        ("--range=-1:2",),
        ("--range=:2",),
        ("--ignore", "b"),
        ("--use", "constant"),
        ("--group", "sample"),
    ],
)
def test_every_option_changes_the_model(
    run: Callable[..., Path], option: tuple[str, ...], data: Path
) -> None:
    rows = data.read_text().splitlines()
    rows = [f"{row},{'sample' if not i else i % 17}" for i, row in enumerate(rows)]
    data.write_text("\n".join(rows))
    assert not same_model(
        run("plain", "--ignore", "sample"),
        run("changed", *option, *(() if "sample" in option else ("--ignore", "sample"))),
    )


def test_the_same_options_give_the_same_model(run: Callable[..., Path]) -> None:
    first, second = run("first"), run("second", "--device", "cpu")
    assert same_model(first, second)
    assert (first / "metrics.jsonl").read_text() == (second / "metrics.jsonl").read_text()
    held = [[row["name"] for row in read(out / "predictions.csv")] for out in (first, second)]
    assert held[0] == held[1]
    assert held[0] != [row["name"] for row in read(run("other", "--seed", "1") / "predictions.csv")]


def test_a_file_of_options_does_what_arguments_do(
    run: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    given = ["--range=-3:3", "--ignore", "name", "--seed", "3", "--batch-size", "16"]
    first = run("first", *given)
    again = ["train", "--config", str(first / "config.json"), "--out"]
    assert main([*again, str(tmp_path / "second")]) == 0
    assert same_model(first, tmp_path / "second")
    assert Run.read(tmp_path / "second").options == Run.read(first).options
    assert main([*again, str(tmp_path / "third"), "--seed", "5", "--ignore", "b"]) == 0
    assert not same_model(first, tmp_path / "third")
    assert Run.read(tmp_path / "third").options.ignore == ["b"]
    plain = {"data": str(data), "target": "y", "range": "-3:3", "ignore": "name", "seed": 3}
    plain |= {"epochs": 3, "batch_size": 16, "log_target": False, "lr": None}
    (tmp_path / "plain.json").write_text(json.dumps(plain))
    config = ["--config", str(tmp_path / "plain.json")]
    assert main(["train", *config, "--out", str(tmp_path / "fourth")]) == 0
    assert same_model(first, tmp_path / "fourth")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json: Expecting property name"),
        ("[3]", "config.json: "),
        ('{"epoch": 3}', "no option 'epoch'; there are data, target"),
        ('{"epochs": "many"}', "argument --epochs: invalid"),
        ('{"range": [3, 1]}', "argument --range: "),
        ('{"seed": true}', "argument --seed: invalid"),
    ],
)
def test_a_file_of_options_that_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--config", str(tmp_path / "config.json"), "--out", str(tmp_path / "run")])
    assert message in capsys.readouterr().err


def test_groups_stay_together_in_both_splits(
    data: Path, tmp_path: Path, run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    rows = data.read_text().splitlines()
    names = random.integers(0, 20, len(rows))
    data.write_text(
        "\n".join(
            [rows[0] + ",who", *(f"{r},{n}" for r, n in zip(rows[1:], names[1:], strict=True))]
        )
    )
    seen: dict[str, Any] = {}
    fit = train.SCMRegressor.fit

    def watch(self: Any, X: Any, *rest: Any, **named: Any) -> Any:
        seen["groups"], seen["rows"] = named["groups"], len(X)
        return fit(self, X, *rest, **named)

    monkeypatch.setattr(train.SCMRegressor, "fit", watch)
    held = {row["who"] for row in read(run("run", "--group", "who") / "predictions.csv")}
    assert held.isdisjoint(seen["groups"])
    assert 15 < seen["rows"] < 120
    assert len(held) + len(set(seen["groups"])) == len(set(names[1:]))
    assert "who" not in Run.read(tmp_path / "run").encoder.feature_names_in_


def test_another_file_may_be_the_rows_to_judge_by(
    run: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    lines = data.read_text().splitlines()
    data.write_text("\n".join(["Plate 7", *lines]))
    test = tmp_path / "test.csv"
    test.write_text("\n".join([lines[0], "new,0.1,0.9,7,-1.25", "blank,0.1,0.9,7,", *lines[3:9]]))
    out = run("run", "--test", str(test))
    assert [row["name"] for row in read(out / "predictions.csv")][:2] == ["new", "row 2"]
    config = json.loads((out / "config.json").read_text())
    assert config["rows"] == [120, 7]
    assert "1 lines above the names of columns are left out" in config["notes"]
    assert "--test: 1 rows have no target, and are left out" in config["notes"]
    test.write_text("a,b,constant,y\n0.1,0.9,7,-1.25\n")
    out = run("grouped", "--test", str(test), "--group", "name")
    assert json.loads((out / "config.json").read_text())["rows"] == [120, 1]


def test_a_logarithm_is_learned_and_numbers_are_given_back(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    x = np.random.default_rng(0).uniform(0, 4, 150)
    labels = [f"{10**v:.6g}" if v < 3.5 else ">3162.28" for v in x]
    table = write(tmp_path / "wide.csv", [["x", "y"], *map(list, zip(x, labels, strict=True))])
    out = run("run", "--log-target", "--lr", "0.02", table=table, epochs=40)
    run_ = Run.read(out)
    assert run_.limits is not None
    assert run_.limits[1] == pytest.approx(3.5, abs=1e-5)
    for row in read(out / "predictions.csv"):
        predicted, true = float(row["prediction"]), 10 ** float(row["x"])
        assert predicted / true == pytest.approx(1, abs=0.3) or predicted == math.inf
        assert (row["bottom"] == "1") == (predicted == math.inf)
        assert 0 < float(row["lower"]) < float(row["upper"])
        assert 30 < float(row["guess"]) < 1000
        assert float(row["boosting"]) == 1.0, "10 to the power of what it said"
        if predicted == math.inf:
            assert float(row["p_above"]) > 0.5


def test_several_targets_have_columns_of_their_own(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    x = random.uniform(0.2, 2, (120, 2))
    z = 1 / (x[:, 1] - x[:, 0] ** 2 + 0.1j * x[:, 0])
    table = write(tmp_path / "z.csv", [["f", "k", "y", "im"], *np.c_[x, z.real, z.imag].tolist()])
    own = run("own", "--target", "im", table=table)
    shared = run("shared", "--target", "im", "--shared-denominator", table=table)
    assert not same_model(own, shared)
    rows = read(shared / "predictions.csv")
    assert [*rows[0]][4:] == [
        f"{t}_{name}" for t in ("y", "im") for name in (*ADDED, "guess", "boosting")
    ]
    assert len(Run.read(shared).reported) == 2
    assert main(["predict", str(shared), str(table), "--out", str(tmp_path / "p.csv")]) == 0
    wanted = {row["f"]: row["im_prediction"] for row in rows}
    found = {row["f"]: row["im_prediction"] for row in read(tmp_path / "p.csv")}
    assert wanted.items() <= found.items()


def test_what_lies_beyond_the_range_is_infinite(run: Callable[..., Path]) -> None:
    out = run("run", "--range=-2.5:2.5", "--lr", "0.01", epochs=40)
    values = [row["prediction"] for row in read(out / "predictions.csv")]
    assert {"inf", "-inf"} & set(values)
    assert all(abs(float(v)) <= 2.5 or math.isinf(float(v)) for v in values if v)
    assert Run.read(out).reported == [(-2.5, 2.5)]


def test_a_table_with_decimal_commas_gets_predictions_with_decimal_commas(
    run: Callable[..., Path], tmp_path: Path, data: Path
) -> None:
    table = tmp_path / "komma.csv"
    table.write_text(data.read_text().replace(",", ";").replace(".", ","), encoding="utf-8")
    point, comma = run("point"), run("comma", table=table)
    assert same_model(point, comma)
    found = [row["upper"].replace(",", ".") for row in read(comma / "predictions.csv", ";")]
    assert found == [row["upper"] for row in read(point / "predictions.csv")]
    assert ["numbers have a decimal comma" in Run.read(out).notes for out in (point, comma)] == [
        False,
        True,
    ]
    # A cell that leaves the sign open has that of the table that was trained on.
    numbers = []
    for folder, text in (
        (point, "b,constant,a\n1.234,7,0\n"),
        (comma, "b\tconstant\ta\n1,234\t7\t0\n"),
    ):
        (tmp_path / "new.csv").write_text(text)
        out = folder / "new.csv"
        assert main(["predict", str(folder), str(tmp_path / "new.csv"), "--out", str(out)]) == 0
        (row,) = read(out, ",;"[folder == comma])
        numbers.append(row["prediction"].replace(",", "."))
    assert numbers[0] == numbers[1]


def test_columns_that_have_the_name_of_one_that_is_added_are_kept(
    run: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    table = tmp_path / "taken.csv"
    table.write_text(data.read_text().replace(",constant,", ",upper,"))
    plain, taken = run("plain"), run("taken", table=table)
    assert same_model(plain, taken)
    for one, other in zip(*(read(out / "predictions.csv") for out in (plain, taken)), strict=True):
        assert other.pop("upper") == one.pop("constant") == "7"
        assert other.pop("upper_predicted") == one.pop("upper")
        assert one == other
