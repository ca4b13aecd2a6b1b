"""The report's pictures and its two forms: Markdown, and one page of HTML."""

from __future__ import annotations

import html
import importlib.util
import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from zeroproof.command.scores import Rate, shown
from zeroproof.sklearn.fitting import Array

# By heading: paragraphs, lists, tables as lists of rows, code, and at most one picture, which is a
# function that draws on axes.
Sections: TypeAlias = dict[str, list[Any]]
INK, GREY, BLUE, ORANGE, GREEN = "#111112", "#808284", "#0072b2", "#d55e00", "#009e73"
SCRIPTS = ["DejaVu Sans", "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic", "Arial Unicode MS"]
MOST_DRAWN = 600  # points of a picture
AGAIN = "To do it again"  # the heading of a command
MARKDOWN = {
    "lead": "# {}\n\n", "text": "{}\n\n", "title": "{}\n\n", "heading": "## {}\n\n",
    "code": "```sh\n{}\n```\n", "list": "{}\n", "item": "- {}\n", "picture": "",
    "table": "{}\n", "row": "|{}\n", "cell": " {} |", "rule": " --- |",
}  # fmt: skip
HTML = {
    "lead": "<h1>{}</h1>", "text": "<p>{}</p>", "title": "<p class=title>{}</p>",
    "heading": "</section>\n<section><h2>{}</h2>", "code": "<pre>{}</pre>",
    "list": "<ul>{}</ul>", "item": "<li>{}</li>", "picture": "<figure>{}</figure>",
    "table": "<div class=box><table>{}</table></div>", "row": "<tr>{}</tr>\n",
    "cell": "<td>{}</td>", "rule": "",
}  # fmt: skip


def draw(sections: Sections, png: Path) -> dict[str, str]:
    """Write the sections' pictures into one PNG; return each as SVG, or why there is none."""
    pictures = {name: part for name, parts in sections.items() for part in parts if callable(part)}
    if importlib.util.find_spec("matplotlib") is None:
        return dict.fromkeys([*pictures][:1], "No pictures: pip install 'zeroproof-scm[plot]'")
    from matplotlib import font_manager, rc_context
    from matplotlib.figure import Figure

    def attempt(names: Sequence[str], columns: int, target: Any, form: str) -> str:
        rows = math.ceil(len(names) / columns)
        figure = Figure(figsize=(5.8 * columns, 4.5 * rows), layout="constrained")
        try:
            for place, name in enumerate(names, 1):
                pictures[name](axes := figure.add_subplot(rows, columns, place, facecolor="none"))
                axes.set_title(name if columns > 1 else "")
            figure.savefig(target, format=form, dpi=110, transparent=form == "svg")
        except Exception as error:  # whatever a name or a number does to matplotlib
            return f"The picture could not be drawn ({error})."
        return ""

    installed = {font.name for font in font_manager.fontManager.ttflist}
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    style: Any = dict.fromkeys(inked, INK) | {
        "font.family": [name for name in SCRIPTS if name in installed],
        "text.parse_math": False,  # a column may be called $y_1$
        "svg.fonttype": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.fontsize": "small",
    }
    found: dict[str, str] = {}
    with rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about letters that no font has
        for name in pictures:
            file = io.StringIO()
            found[name] = attempt([name], 1, file, "svg") or _inline(file.getvalue(), len(found))
        drawn = [name for name, svg in found.items() if svg.startswith("<svg")]
        if drawn and (failed := attempt(drawn, 2, png, "png")):
            found["plot.png"] = failed
    return found


def curves(history: Mapping[str, Sequence[float]], best: int, axes: Any) -> None:
    """Draw the losses of each epoch, and mark the one whose weights are kept."""
    for name, colour, label in (
        ("loss", GREY, "rows trained on"),
        ("val_loss", BLUE, "rows left out"),
    ):
        axes.plot(range(1, len(history[name]) + 1), history[name], color=colour, label=label)
    axes.axvline(best, color=ORANGE, ls="--", label=f"best epoch: {best}")
    axes.set(xlabel="epoch", ylabel="loss (negative log likelihood)")
    seen = np.concatenate([history["loss"], history["val_loss"]])
    axes.set_ylim(seen.min() - 0.05 * np.ptp(seen), np.quantile(seen, 0.98) + 0.05 * np.ptp(seen))
    axes.legend(frameon=False)


def shares(series: Mapping[str, Sequence[tuple[float, Rate]]], words: str, axes: Any) -> None:
    """Draw shares that came true, with 95 % intervals, against what was said."""
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="as said")
    for colour, (label, points) in zip((BLUE, ORANGE, GREEN, GREY), series.items(), strict=False):
        x, rates = zip(*[p for p in points if p[1].of], strict=True)
        y = np.array([rate.count / rate.of for rate in rates])
        ends = np.array([rate.interval for rate in rates]).T
        axes.errorbar(x, y, abs(ends - y), color=colour, marker="o", capsize=2, label=label)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel=words, ylabel="share that came true")
    axes.legend(frameon=False, loc="best")


def bars(rows: Sequence[tuple[str, float, float]], axes: Any) -> None:
    """Draw named numbers with their deviations, the first on top."""
    names, sizes, deviations = zip(*rows[::-1], strict=True)
    axes.barh(range(len(rows)), sizes, xerr=deviations, color=BLUE, ecolor=GREY, height=0.65)
    axes.set_yticks(range(len(rows)), [name[:22] + "…" * (len(name) > 22) for name in names])
    axes.set_ylim(min(len(rows) - 6, 0) - 0.6, len(rows) - 0.4)
    axes.set_xlabel("rise of the error, in % of a guess's")


def points(
    name: str, labels: Sequence[Array], found: Sequence[Array], limits: Any, axes: Any
) -> None:
    """Draw predicted against measured with 90 % intervals; bands hold what has no number.

    ``labels`` are lower and upper ends, ``found`` predicted values and ends of their intervals;
    bounds from ``limits`` on have no number.
    """
    rows = (random := np.random.default_rng(0)).permutation(len(found[0]))[:MOST_DRAWN]
    low, high, value, *interval = (part[rows] for part in (*labels, *found))
    number = np.isfinite(low) & np.isfinite(high)
    kinds = [number, (low >= limits[1]) | np.isnan(low), high <= limits[0], low > -np.inf]
    label = np.select(kinds, [(low + high) / 2, np.inf, -np.inf, low], high)
    value = np.where(np.isnan(value), np.inf, value)
    forward, ticks = _scale(np.r_[label, value])
    x, y = (
        forward(z) + np.where(np.isinf(z), random.uniform(-0.04, 0.04, len(z)), 0.0)
        for z in (label, value)
    )
    bound, answered = np.isfinite(label) & ~number, np.isfinite(value)
    axes.vlines(x[answered], *(forward(z[answered]) for z in interval), color=GREY, alpha=0.3, lw=1)
    none = ~number & ~bound
    for chosen, colour, marker, words in (
        (number & answered, BLUE, "o", "a number, as measured"),
        (bound & answered, GREY, ">", "label is only a bound"),
        (none & ~answered, GREEN, "^", "no number, as measured"),
        (none & answered, ORANGE, "s", "a number where there is none"),
        (~none & ~answered, ORANGE, "X", "'no number' for a measured value"),
    ):
        if chosen.any():
            style = {"color": colour, "marker": marker, "alpha": 0.7, "lw": 0, "s": 24, "zorder": 3}
            axes.scatter(x[chosen], y[chosen], label=f"{words}: {chosen.sum()}", **style)
    axes.plot([0, 1], [0, 1], color=GREY, lw=1)
    for axis, shade, z in (("x", axes.axvspan, label), ("y", axes.axhspan, value)):
        places = dict(zip(forward(np.array(ticks)), map(shown, ticks), strict=True))
        axes.set(**_with_bands(axis, places, z, limits, shade))
    axes.set(xlabel=f"measured {name}", ylabel=f"predicted {name}")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)


def _with_bands(
    axis: str, places: dict[float, str], z: Array, limits: tuple[float, float], shade: Any
) -> dict[str, Any]:
    """Shade the bands that an axis needs; return its limits and ticks."""
    ends = [-0.05, 1.05]
    for side, band, sign in ((0, -0.12, "<"), (1, 1.12, ">")):
        if (z == band * np.inf).any():
            shade(band - 0.06, band + 0.06, color=GREY, alpha=0.13, lw=0)
            places = {t: text for t, text in places.items() if abs(t - band) > 0.18}
            finite = math.isfinite(limit := limits[side])
            places[band] = f"{sign}{limit:.6g}" if finite else "no number"
            ends[side] = 1.7 * band - 0.7 * side
    texts = [*places.values()]
    return {f"{axis}lim": ends, f"{axis}ticks": [*places], f"{axis}ticklabels": texts}


def _scale(values: Array) -> tuple[Callable[[Array], Array], list[float]]:
    """Return a function to [0, 1], which bends where few numbers lie far out, and its ticks."""
    from matplotlib.ticker import AsinhLocator, MaxNLocator

    known = values[np.isfinite(values)]
    least, most, spread = known.min(), known.max(), np.subtract(*np.quantile(known, [0.75, 0.25]))
    bent = most - least > 40 * spread > 0
    low, high = np.arcsinh([least / spread, most / spread]) if bent else (least, most)

    def forward(numbers: Array) -> Array:
        share = ((np.arcsinh(numbers / spread) if bent else numbers) - low) / ((high - low) or 1.0)
        placed: Array = np.where(np.isinf(numbers), np.clip(share, -0.12, 1.12), share)
        return placed

    locator = AsinhLocator(spread) if bent else MaxNLocator(6)
    return forward, [t for t in locator.tick_values(least, most) if least <= t <= most]


def write(folder: Path, title: str, said: Sequence[tuple[str, str]], sections: Sections) -> str:
    """Write ``report.md``, ``report.html`` and ``plot.png``; return what could not be drawn.

    Args:
        folder: where to.
        title: what was learned from what.
        said: the verdict on each target, in short and at length.
        sections: the rest.
    """
    drawn = draw(sections, folder / "plot.png")
    failed = [text for text in drawn.values() if not text.startswith("<svg")]
    body = _render(HTML, html.escape, drawn, title, said, sections)
    template = resources.files("zeroproof.command").joinpath("page.html").read_text("utf-8")
    page = template.replace("{title}", html.escape(title)).replace("{body}", body)
    (folder / "report.html").write_text(page, encoding="utf-8")
    image = "![pictures](plot.png)\n\n" if len(drawn) > len(failed) else ""
    form = MARKDOWN | {"title": MARKDOWN["title"] + image}
    body = _render(form, _escape, drawn, title, said, sections)
    (folder / "report.md").write_text(body, encoding="utf-8")
    return " ".join(failed)


def _render(
    form: Mapping[str, str],
    escape: Callable[[str], str],
    drawn: Mapping[str, str],
    title: str,
    said: Sequence[tuple[str, str]],
    sections: Sections,
) -> str:
    def put(kind: str, *texts: str) -> str:
        return "".join(form[kind].format(escape(text)) for text in texts)

    lines = [put("lead", head) + put("text", rest) for head, rest in said] + [put("title", title)]
    for name, parts in sections.items():
        lines.append(put("heading", name))
        for part in parts:
            if callable(part):
                svg = drawn.get(name, "")
                is_svg = svg.startswith("<svg")
                lines.append(form["picture"].format(svg) if is_svg else put("text", svg))
            elif isinstance(part, str):
                lines.append(form["code"].format(part) if name == AGAIN else put("text", part))
            elif part and isinstance(part[0], str):
                lines.append(form["list"].format(put("item", *part)))
            elif len(part) > 1:
                rows = [form["row"].format(put("cell", *row)) for row in part]
                rows.insert(1, form["row"].format(form["rule"] * len(part[0])) * bool(form["rule"]))
                lines.append(form["table"].format("".join(rows)))
    return "".join(lines)


def _escape(text: str) -> str:
    """Escape what Markdown would take for a mark."""
    return re.sub(r"([\\`*_|<>$\[\]#~])", r"\\\1", " ".join(text.split()))


def _inline(svg: str, number: int) -> str:
    """Make an SVG part of a page: its names are its own, its colours the page's."""
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>p{number}-", svg[svg.index("<svg") :])
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    for colour, name in ((INK, "ink"), (BLUE, "blue"), (ORANGE, "orange"), (GREEN, "green")):
        svg = svg.replace(colour, f"var(--{name})")
    return svg
