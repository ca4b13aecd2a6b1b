"""The extension of Sphinx that makes the pages and links clauses, both ways."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from docs.pages import Book, write
from docs.sources import ROOT, is_tool, prose, public_modules
from properties.faults import FAULTS
from properties.trace import claims
from spec import CLAUSES
from spec.evidence import evidence_of, read_trace
from spec.lock import ID

logger: Final = logging.getLogger(__name__)
LITERAL_OR_ID: Final = re.compile(rf"``.*?``|`[^`]*`|({ID.pattern})")


class ClauseRole(SphinxRole):
    """A clause's id, such as LIFT-2: a link to it that shows its sentence on hover."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link; an unknown id is a warning."""
        if self.text not in CLAUSES:
            logger.warning("no clause %s", self.text, location=self.get_location())
            return [nodes.literal(text=self.text)], []
        uri = self.env.app.builder.get_relative_uri(self.env.docname, f"spec/{self.text}")
        sentence = CLAUSES[self.text].sentence.replace("``", "")
        link = nodes.reference(self.rawtext, self.text, refuri=uri, reftitle=sentence)
        link["classes"].append("clause-id")
        return [link], []


class ClauseDirective(SphinxDirective):
    """The sentences of some clauses, in place."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return a box of the sentences, each behind its id."""
        lines: list[str] = []
        for id in self.arguments[0].split():
            lines.append(f"{{clause}}`{id}`")
            if clause := CLAUSES.get(id):
                unmet = evidence_of(clause, read_trace()).unmet
                lines += [prose(clause.sentence), *([f"*Not yet met: {unmet}.*"] if unmet else [])]
            lines.append("")
        box = nodes.container(classes=["clause-box"])
        self.state.nested_parse(StringList(lines, self.get_location()), self.content_offset, box)
        return [box]


def link_clauses(
    app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    """Turn the ids in a docstring into links, and "Meets:" into a field."""
    linked = []
    for line in lines:
        example = line.lstrip().startswith((">>>", "..."))
        linked.append(line if example else LITERAL_OR_ID.sub(_link, line))
    text = re.sub(r"\s*\bMeets: ?(.*?)(?=\n\s*\n|\Z)", _field, "\n".join(linked), flags=re.DOTALL)
    lines[:] = text.split("\n")


def _link(match: re.Match[str]) -> str:
    return f":clause:`{match[1]}`" if match[1] in CLAUSES else match[0]


def _field(match: re.Match[str]) -> str:
    return f"\n\n:Meets: {' '.join(match[1].split())}\n\n"


def make_pages(app: Sphinx) -> None:
    """Write the made pages beside the written ones."""
    modules = [import_module(name) for name in public_modules("spec") if not is_tool(name)]
    book = Book(CLAUSES, read_trace(), claims(ROOT / "zeroproof"), FAULTS, modules)
    write(Path(app.srcdir), book.pages())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register everything."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_role("clause", ClauseRole())
    app.add_directive("clause", ClauseDirective)
    app.connect("builder-inited", make_pages)
    # Before Napoleon, which has priority 500 and takes "0 everywhere. Meets:" for a type.
    app.connect("autodoc-process-docstring", link_clauses, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
