"""How predictions are judged, said in words and drawn, by made up labels and predictions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from zeroproof.command import page, report, scores
from zeroproof.command.options import Options
from zeroproof.command.run import Predictions, Run
from zeroproof.command.scores import Score, boosting, mean, rate, shown
from zeroproof.command.table import Column, Measured

INF, NAN = math.inf, math.nan


def described(
    lower: Any, upper: Any = None, limits: tuple[float, float] | None = None, **options: Any
) -> tuple[Run, Measured]:
    """Return a run whose training had the median 0, and labels of one target."""
    low, high = (np.array(e, float)[:, None] for e in (lower, lower if upper is None else upper))
    columns = [Column("a", "number", ""), Column("y", "target", "learned")]
    chosen = Options("data.csv", ["y"], **options)
    history = {"loss": [1.0] * 100, "val_loss": [1.0] * 100}
    run = Run(
        "0", chosen, "", ".", columns, (800, 0), [(-1.0, 1.0)], [0.0], limits, [], 50, history
    )
    return run, Measured(low, high, np.zeros(len(low), bool), limits, [])


def judged(run: Run, measured: Measured, model: Any, half: float = 2.0, **rivals: Any) -> Score:
    value = np.array(model, float)[:, None]
    zero = np.zeros_like(value)
    found = Predictions(value, value - half, value + half, zero, zero)
    others = {name: np.array(v, float)[:, None] for name, v in rivals.items()}
    (score,) = scores.scores(run, measured, found, others)
    return score


def cell(score: Score, words: str, column: str = "this model") -> Any:
    """Return the estimate in the row whose words contain these."""
    (row,) = [i for i, text in enumerate(score.table.iloc[:, 0]) if words in text]
    return score.table[column].iloc[row]


NORMAL = np.random.default_rng(0).normal(size=(3, 200))


@pytest.mark.parametrize(
    ("model", "boosted", "rows", "head", "more"),
    [
        (0.1, 0.3, 200, "Good for predicting y", "0.344 times that of gradient boosting"),
        (0.3, 0.3, 200, "About as good as gradient boosting for y", "To try: "),
        (0.5, 0.3, 200, "Gradient boosting does better than this model for y", "To try: more rows"),
        (1.5, 1.5, 200, "Guessing the median does better than this model for y", "(0.7"),
        (0.36, 0.3, 30, "Gradient boosting does better than this model for y, though", "To try: "),
        (0.1, 0.3, 8, "Too few rows to tell (8 measured values). On these: Good", "by 8 measured"),
        (0.1, 0.3, 19, "Too few rows to tell (19", ""),
        (0.1, 0.3, 20, "Good for predicting y", ""),
    ],
)
def test_the_first_words_say_who_does_better(
    model: float, boosted: float, rows: int, head: str, more: str
) -> None:
    y, one, other = NORMAL[:, :rows]
    run, measured = described(y)
    rivals = {"guess": 0 * y, "boosting": y + boosted * other}
    score = judged(run, measured, y + model * one, **rivals)
    said, rest = report.verdict(score)
    assert said.startswith(head)
    assert more in rest
    assert ("To try" in rest) == (model > 0.2)


def test_a_model_that_learned_nothing_is_not_called_as_good() -> None:
    y, one, other = NORMAL
    run, measured = described(y)
    score = judged(run, measured, 0.01 * one, guess=0 * y, boosting=other)
    assert report.verdict(score)[0] == "No better than guessing the median of y"


def test_without_a_measured_value_nothing_is_judged() -> None:
    run, measured = described([INF, -INF, NAN])
    score = judged(run, measured, [1.0, 2.0, 3.0], guess=[0.0] * 3, boosting=[0.0] * 3)
    assert report.verdict(score)[0] == "Nothing to judge y by"
    assert str(cell(score, "error, all")) == "none to judge"
    assert str(cell(score, "said a number where the label is inf or nan"))[:6] == "3 of 3"


@pytest.mark.parametrize(
    ("silent", "half", "words"),
    [
        (0, 0.4, None),
        (170, 0.4, "But it said 'no number' for a measured value: 170 of 200 (79.3 to 89.6 %)"),
        (30, 0.4, "But it said 'no number' for a measured value: 30 of 200"),
        (6, 0.4, None),
        (0, 0.1, "But it gave a 90 % interval that misses the measured value: "),
        (0, 0.3, "But it gave a 90 % interval that misses the measured value: "),
    ],
)
def test_no_harm_is_silent(silent: int, half: float, words: str | None) -> None:
    y, one, other = NORMAL
    run, measured = described(y)
    value = y + 0.24 * one
    value[:silent] = NAN
    score = judged(run, measured, value, half, guess=0 * y, boosting=y + 0.5 * other)
    rest = report.verdict(score)[1]
    assert ("But it" in rest) == (words is not None)
    assert words is None or words in rest
    assert "To try" not in rest or "But it" in rest or silent


def test_answers_that_are_no_number_count_as_limit_or_median() -> None:
    run, measured = described([0.5, 0.5, -0.5, 0.25], limits=(-1.0, INF))
    score = judged(run, measured, [INF, NAN, -INF, 0.75], guess=[0.0] * 4, boosting=[0.0] * 4)
    assert cell(score, "error, all").value == pytest.approx((0.5 + 0.5 + 0.5 + 0.5) / 4)
    assert cell(score, "the same").value == 0.5
    assert cell(score, "error, all", "guessing the median").value == pytest.approx(1.75 / 4)
    assert str(cell(score, "no number")).startswith("3 of 4 ")


@pytest.mark.parametrize(
    ("lower", "upper", "limits", "found", "words", "counts"),
    [
        (
            [1, 1, 1],
            [INF] * 3,
            (-INF, 1),
            [0.9, INF, NAN],
            "contradicted a label such as '>1'",
            1,
        ),
        ([1, 2, 3], [INF] * 3, None, [2.5, 2.5, 2.5], "contradicted a label such as '>2'", 1),
        ([-INF] * 2, [1, 2], None, [1.5, 1.5], "contradicted a label such as '<1'", 1),
        ([-INF] * 2, [-1, -1], (-1, 1), [-INF, INF], "contradicted a label such as '<-1'", 1),
        (
            [INF, -INF, NAN],
            None,
            None,
            [INF, 0, 0],
            "said a number where the label is inf or nan",
            2,
        ),
        ([1, 0], [2, 0], None, [NAN, 0], "said 'no number' for a measured value", 1),
    ],
)
def test_each_kind_of_mistake_is_counted(
    lower: Any, upper: Any, limits: Any, found: Any, words: str, counts: int
) -> None:
    run, measured = described(lower, upper, limits)
    score = judged(run, measured, found, guess=found, boosting=found)
    assert str(cell(score, words)).startswith(f"{counts} of {len(lower)} ")
    assert len(score.table) == (4 if "measured" in words else 5)


def test_rates_and_means_have_their_intervals() -> None:
    rows = np.arange(181) < 181
    assert str(rate(np.arange(181) < 1, rows)) == "1 of 181 (0.014 to 3.04 %)"
    assert str(rate(~rows, np.arange(181) < 86)) == "0 of 86 (0 to 4.2 %)"
    assert str(rate(rows, ~rows)) == "none to judge"
    y, one, other = NORMAL
    run, measured = described(y)
    score = judged(run, measured, y + one, guess=0 * y, boosting=y + 1.1 * one)
    error, spread = cell(score, "error, all"), np.abs(one).std() / math.sqrt(200)
    assert error.value == pytest.approx(np.abs(one).mean())
    assert error.low == pytest.approx(error.value - 1.96 * spread, abs=0.02)
    assert error.high == pytest.approx(error.value + 1.96 * spread, abs=0.02)
    # Both methods are resampled together, so that a constant ratio is certain.
    paired = judged(run, measured, y + one, guess=y + 9 * other, boosting=y + 1.1 * one).ratio
    assert (paired.low, paired.high) == pytest.approx((1 / 1.1, 1 / 1.1))
    assert [*map(shown, (1234.5, -0.00001234, INF, NAN))] == ["1230", "−1.23e−05", "∞", "no number"]
    assert str(mean(np.ones(3), np.zeros(3))) == "∞ (∞ to ∞)"


def test_boosting_says_no_number_where_such_labels_were() -> None:
    x = np.linspace(-1, 1, 400)[:, None]
    low, high = x[:, 0].copy(), x[:, 0].copy()
    high[low > 0.5], low[low > 0.5] = INF, 0.5
    low[(x[:, 0] < -0.5)] = high[(x[:, 0] < -0.5)] = -INF
    pole = abs(x[:, 0]) < 0.2
    low[pole] = high[pole] = NAN
    seen = np.array([[-0.8], [-0.3], [0.0], [0.4], [0.8]])
    nothing_missing = np.zeros(400, bool)

    def found(limits: Any) -> list[float]:
        measured = Measured(low[:, None], high[:, None], nothing_missing, limits, [])
        return [float(v) for v in boosting(x, measured, seen, 0)[:, 0]]

    assert found((-INF, 0.5)) == pytest.approx([-INF, -0.3, NAN, 0.4, INF], abs=0.1, nan_ok=True)
    # ">0.5" may be any number beyond, if no instrument ends there: no kind of its own.
    assert found(None) == pytest.approx([-INF, -0.3, NAN, 0.4, 0.5], abs=0.1, nan_ok=True)


def test_one_odd_label_is_no_kind() -> None:
    y = np.array([*np.linspace(0, 1, 10_100), NAN])[:, None]  # so many that it stops by a part
    measured = Measured(y, y, np.zeros(len(y), bool), None, [])
    assert np.isfinite(boosting(np.nan_to_num(y), measured, np.ones((3, 1)), 0)).all()


def test_the_unit_of_a_target_changes_nothing_for_boosting() -> None:
    x = np.linspace(-3, 3, 10_100)[:, None]  # so many that it stops by a tolerance

    def found(unit: float) -> Any:
        y = unit * np.sin(x)
        measured = Measured(y, y, np.zeros(len(y), bool), None, [])
        return boosting(x, measured, x[::100], 0) / unit

    assert found(1e-9) == pytest.approx(found(1.0), abs=0.01)
    assert found(1.0) == pytest.approx(np.sin(x[::100]), abs=0.05)


def test_bounds_alone_are_rivals_targets() -> None:
    x = np.linspace(0, 1, 60)[:, None]
    bounds = Measured(x, x + INF, np.zeros(60, bool), None, [])
    assert boosting(x, bounds, x[[30]], 0) == pytest.approx(0.5, abs=0.1)
    assert scores.known_numbers(bounds)[0][1].tolist() == x[:, 0].tolist()


def test_the_picture_shows_every_row_in_its_place() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    low = np.array([[0.0, 1, 2, 3, INF, NAN, 4, -INF, 1]]).T
    high = np.array([[0.0, 1, 2, 3, INF, NAN, INF, 0, INF]]).T
    value = np.array([[0.0, 1, NAN, INF, INF, 2, 5, -INF, 3]]).T
    measured = Measured(low, high, np.zeros(9, bool), None, [])
    found = Predictions(value, value - 1, value + 1, value, value)
    page.points(measured, found, (0.0, 4.0), 0, "y", axes)
    told = {}
    for points in (part for part in axes.collections if hasattr(part, "get_sizes")):
        words, count = str(points.get_label()).split(": ")
        told[words] = np.sort(points.get_offsets(), axis=0)
        assert len(told[words]) == int(count)
        assert np.isfinite(np.ma.filled(told[words], NAN)).all()
    assert {words: len(at) for words, at in told.items()} == {
        "a number, as measured": 2,
        "'no number' for a measured value": 2,
        "no number, as measured": 2,
        "a number, though none was measured": 2,
        "label is only a bound": 1,
    }
    assert told["a number, as measured"].tolist() == [[0, 0], [1, 1]]
    assert told["label is only a bound"].tolist() == [[1, 3]]
    places = [0 - page.BAND * 5, 5 + page.BAND * 5]
    for axis in (axes.xaxis, axes.yaxis):
        texts = [text.get_text() for text in axis.get_ticklabels()]
        assert [axis.get_ticklocs()[texts.index(name)] for name in ("<0", ">4")] == places
    beyond = told["no number, as measured"]
    assert (np.abs(beyond - np.array(places)[:, None]) <= 0.2).all()


@pytest.mark.parametrize(("limits", "tick"), [((-INF, 50.0), ">50"), ((-INF, INF), "no number")])
def test_a_picture_without_a_number_has_a_band_all_the_same(limits: Any, tick: str) -> None:
    from matplotlib.figure import Figure

    axes, value = Figure().add_subplot(), np.full((3, 1), INF)
    measured = Measured(value, value, np.zeros(3, bool), None, [])
    page.points(measured, Predictions(*[value] * 5), limits, 0, "y", axes)
    assert tick in [text.get_text() for text in axes.xaxis.get_ticklabels()]
    assert len(axes.collections[-1].get_offsets()) == 3


def test_numbers_far_out_lie_at_the_edges() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    value = np.r_[np.linspace(-1, 1, 99), 1e4, 1e9][:, None]
    measured = Measured(value, value, np.zeros(101, bool), None, [])
    page.points(measured, Predictions(*[value] * 5), (-INF, INF), 0, "y", axes)
    seen = np.ma.filled(axes.collections[-1].get_offsets(), NAN)
    assert len(seen) == 101
    assert 4 < seen.max() < 6
    assert (seen == seen.max()).sum() == 4
