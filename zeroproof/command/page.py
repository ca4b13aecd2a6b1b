"""The report's pictures and its two forms: Markdown, and one page of HTML."""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import jinja2
import numpy as np

from zeroproof.command.run import Predictions
from zeroproof.command.scores import Estimate, is_number, shown
from zeroproof.command.table import Measured
from zeroproof.sklearn.fitting import Array

# By heading: paragraphs, data frames, and at most one picture, which is a function of axes.
Sections: TypeAlias = dict[str, list[Any]]
INK, GREY, BLUE, ORANGE, GREEN = "#111112", "#808284", "#0072b2", "#d55e00", "#009e73"
INKED = "text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"
STYLE: dict[str, Any] = dict.fromkeys(INKED, INK) | {
    "text.parse_math": False,  # a column may be called $y_1$
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": "small",
    "legend.frameon": False,
}
SCRIPTS = ["DejaVu Sans", "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic", "Arial Unicode MS"]
MOST_DRAWN = 600  # points of a picture
BAND = 0.13  # the distance of a picture's bands from its numbers, as a share of their scale


def draw(sections: Sections, png: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Write pictures into one PNG; return them as SVG, and why others could not be drawn."""
    pictures = {name: part for name, parts in sections.items() for part in parts if callable(part)}
    if importlib.util.find_spec("matplotlib") is None:
        return {}, {next(iter(pictures)): "No pictures: pip install 'zeroproof-scm[plot]'"}
    from matplotlib import font_manager, image, rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    installed = {font.name for font in font_manager.fontManager.ttflist}
    style: Any = STYLE | {"font.family": [name for name in SCRIPTS if name in installed]}
    drawn, failed, rasters = dict[str, str](), dict[str, str](), []
    with rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about letters that no font has
        for name, picture in pictures.items():
            canvas: Any = FigureCanvasAgg(Figure(figsize=(5.8, 4.5), dpi=110, layout="constrained"))
            axes, svg = canvas.figure.add_subplot(facecolor="none"), io.StringIO()
            try:
                picture(axes)
                canvas.figure.savefig(svg, format="svg", transparent=True)
                axes.set_title(name, wrap=True)
                canvas.draw()
                rasters.append(np.asarray(canvas.buffer_rgba()))
                drawn[name] = _inline(svg.getvalue(), len(drawn))
            except Exception as error:  # whatever a name or a number does to matplotlib
                failed[name] = f"The picture could not be drawn ({error})."
        if rasters:
            image.imsave(png, np.vstack(rasters))
    return drawn, failed


def _inline(svg: str, number: int) -> str:
    """Make an SVG part of a page: its names are its own, its colours the page's."""
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>p{number}-", svg[svg.index("<svg") :])
    for colour, name in ((INK, "ink"), (BLUE, "blue"), (ORANGE, "orange"), (GREEN, "green")):
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def curves(history: Mapping[str, Sequence[float]], best: int, axes: Any) -> None:
    """Draw the losses of each epoch, and mark the one whose weights are kept."""
    epochs = range(1, len(history["loss"]) + 1)
    axes.plot(epochs, history["loss"], color=GREY, label="rows trained on")
    axes.plot(epochs, history["val_loss"], color=BLUE, label="rows left out")
    axes.axvline(best, color=ORANGE, ls="--", label=f"best epoch: {best}")
    axes.set(xlabel="epoch", ylabel="loss (negative log likelihood)")
    axes.legend()


def shares(points: Sequence[tuple[str, float, Estimate]], axes: Any) -> None:
    """Draw shares that came true, with 95 % intervals, against what was stated."""
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="as stated")
    names = dict.fromkeys(name for name, *_ in points)
    for colour, name in zip((BLUE, ORANGE, GREEN), names, strict=False):
        x, rates = zip(*[point[1:] for point in points if point[0] == name], strict=True)
        y, low, high = np.array([(rate.value, rate.low, rate.high) for rate in rates]).T
        style: Any = {"color": colour, "marker": "o", "capsize": 2, "label": name}
        axes.errorbar(x, y, (y - low, high - y), **style)
    axes.set(xlabel="stated probability", ylabel="share that came true")
    axes.legend()


def bars(rows: Sequence[tuple[str, float, float]], axes: Any) -> None:
    """Draw named numbers with their deviations, the first on top."""
    names, sizes, deviations = zip(*rows[::-1], strict=True)
    axes.barh(range(len(rows)), sizes, xerr=deviations, color=BLUE, ecolor=GREY, height=0.65)
    axes.set_yticks(range(len(rows)), [name[:22] + "…" * (len(name) > 22) for name in names])
    axes.set_ylim(min(len(rows) - 6, 0) - 0.6, len(rows) - 0.4)
    axes.set_xlabel("rise of the mean absolute error")


def points(
    measured: Measured, found: Predictions, limits: Any, i: int, name: str, axes: Any
) -> None:
    """Draw predicted against measured with 90 % intervals; bands hold what has no number.

    Bounds from ``limits`` on have no number; numbers far out lie at the edges.
    """
    rows = (random := np.random.default_rng(0)).permutation(len(found.value))[:MOST_DRAWN]
    low, high = measured.lower[rows, i], measured.upper[rows, i]
    number = is_number(measured)[rows, i]
    kinds = [number, (low >= limits[1]) | np.isnan(low), high <= limits[0], low > -np.inf]
    label = np.select(kinds, [(low + high) / 2, np.inf, -np.inf, low], high)
    value = np.where(np.isnan(found.value[rows, i]), np.inf, found.value[rows, i])
    both, answered, none = np.stack([label, value]), np.isfinite(value), np.isinf(label)
    least, most, size = _scale(axes, both, limits)

    def place(numbers: Any) -> Array:
        beyond = size * np.where(np.isinf(numbers), BAND, 0.03)
        placed: Array = np.clip(numbers, least - beyond, most + beyond)
        return placed

    scatter = size * random.uniform(-0.04, 0.04, both.shape)
    x, y = place(both) + np.where(np.isinf(both), scatter, 0.0)
    ends = place([found.lower[rows, i], found.upper[rows, i]])[:, answered]
    axes.vlines(x[answered], *ends, color=GREY, alpha=0.3, lw=1)
    for chosen, colour, marker, words in (
        (number & answered, BLUE, "o", "a number, as measured"),
        (~number & ~none & answered, GREY, ">", "label is only a bound"),
        (none & ~answered, GREEN, "^", "no number, as measured"),
        (none & answered, ORANGE, "s", "a number, though none was measured"),
        (~none & ~answered, ORANGE, "X", "'no number' for a measured value"),
    ):
        if chosen.any():
            style = {"color": colour, "marker": marker, "alpha": 0.7, "lw": 0, "s": 24, "zorder": 3}
            axes.scatter(x[chosen], y[chosen], label=f"{words}: {chosen.sum()}", **style)
    axes.set(xlabel=f"measured {name}", ylabel=f"predicted {name}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)


def _scale(axes: Any, numbers: Array, limits: Any) -> tuple[float, float, float]:
    """Draw ticks, diagonal and needed bands; return both ends of the scale, and its length."""
    from matplotlib.ticker import MaxNLocator

    several = (part[np.isfinite(part)] for part in (numbers, np.array(limits), np.zeros(1)))
    known = next(part for part in several if part.size)
    quarters = np.quantile(known, [0.25, 0.75])
    reach = 4 * np.ptp(quarters) or np.inf
    least, most = max(known.min(), quarters[0] - reach), min(known.max(), quarters[1] + reach)
    size = (most - least) or 1.0
    ticks = {t: shown(t) for t in MaxNLocator(6).tick_values(least, most) if least <= t <= most}
    for infinite, sign, band in ((0, "<", least - BAND * size), (1, ">", most + BAND * size)):
        if (numbers == (-np.inf, np.inf)[infinite]).any():
            for shade in (axes.axvspan, axes.axhspan):
                shade(band - size / 16, band + size / 16, color=GREY, alpha=0.13, lw=0)
            ticks = {at: text for at, text in ticks.items() if abs(at - band) > 0.2 * size}
            exists = np.isfinite(limits[infinite])
            ticks[band] = f"{sign}{limits[infinite]:.6g}" if exists else "no number"
    axes.set_xticks([*ticks], ticks.values())
    axes.set_yticks([*ticks], ticks.values())
    axes.plot([least, most], [least, most], color=GREY, lw=1)
    return least, most, size


def write(
    folder: Path, title: str, said: Sequence[tuple[str, str]], sections: Sections, again: str
) -> list[str]:
    """Write ``report.md``, ``report.html`` and ``plot.png``; return why pictures are missing.

    ``said`` is the verdict on each target in short and at length, ``again`` how to repeat the run.
    """
    drawn, failed = draw(sections, folder / "plot.png")
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(),
        trim_blocks=True,
    )
    templates.filters["marked"] = _marked
    sections = sections | {name: [why, *sections[name]] for name, why in failed.items()}
    known = {"title": title, "said": said, "sections": sections, "again": again, "drawn": drawn}
    for form in ("md", "html"):
        text = templates.get_template(f"page.{form}").render(known)
        (folder / f"report.{form}").write_text(text, encoding="utf-8")
    return [*failed.values()]


def _marked(text: object) -> str:
    """Escape what Markdown would take for a mark."""
    return re.sub(r"([\\`*_|<>$\[\]#~])", r"\\\1", " ".join(str(text).split()))
