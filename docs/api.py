"""The pages of the API, one a module."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator

from docs.sources import prose, public_modules, summary, toctree


def api_pages() -> Iterator[tuple[str, str]]:
    """Walk the pages of the API, one a module."""
    names = list(public_modules("zeroproof"))
    parts = ["# API\n"]
    for name in names:
        module = importlib.import_module(name)
        head = prose(summary(module)[0])
        parts.append(f"- {{py:mod}}`{name}`: {head}\n")
        offered = [getattr(module, n) for n in getattr(module, "__all__", ())]
        named = [x for x in offered if inspect.isclass(x) or inspect.isfunction(x)]
        others = [f"{x.__module__}.{x.__qualname__}" for x in named if x.__module__ != name]
        links = [f"{{py:obj}}`~{other}`" for other in others]
        page = [f"# `{name}`\n", "```{eval-rst}", f".. automodule:: {name}", "   :members:",
                "   :ignore-module-all:", "```\n"]  # fmt: skip
        page += [f"Importable from here, too: {', '.join(links)}.\n"] if links else []
        yield f"api/{name}", "\n".join(page)
    parts.append(toctree(f"{name.removeprefix('zeroproof.')} <{name}>" for name in names))
    yield "api/index", "\n".join(parts)
