"""The mutants of a source file: mutmut's operators, and deletions that mutmut lacks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import libcst as cst
from libcst import matchers
from mutmut.mutation import mutators

# None in the place of a value or an argument is what the run-time type checks find, so of these
# only the removal of arguments stays.
_REPLACED = {
    mutators.operator_string,
    mutators.operator_arg_removal,
    mutators.operator_assignment,
}
_OPERATORS = [pair for pair in mutators.mutation_operators if pair[1] not in _REPLACED]
_EXPORTS = matchers.Assign([matchers.AssignTarget(matchers.Name("__all__"))])
_KEY = re.compile(r"[\"'][\w./-]+[\"']")


@dataclass(frozen=True)
class Mutant:
    """One change to one file, named so that edits elsewhere do not rename it."""

    file: str
    function: str
    was: str
    now: str
    lines: range
    source: str

    @property
    def place(self) -> str:
        """File and function."""
        return f"{self.file}:{self.function}"

    @property
    def change(self) -> str:
        """The changed lines, before and after."""
        return f"{self.was} → {self.now}"


def mutants(file: str, source: str, looks: Sequence[str]) -> Iterator[Mutant]:
    """Yield the mutants of a file, without those of keyword arguments named in ``looks``."""
    module = cst.parse_module(source)
    # Replacing within one statement of the module is many times faster than within all of it.
    texts = [module.code_for_node(statement) for statement in module.body]
    start = source.index("".join(texts))
    functions = list(_functions(ast.parse(source)))
    seen = {source}
    for statement, text in zip(module.body, texts, strict=True):
        end = start + len(text)
        for changed in _changed(statement, looks):
            code = source[:start] + module.code_for_node(changed) + source[end:]
            if code in seen or not _compiles(code):
                continue
            seen.add(code)
            was, now, first = _difference(source.splitlines(), code.splitlines())
            # Innermost last, as ast walks from the outside in.
            around = [name for name, span in functions if first in span] or ["<module>"]
            lines = range(first, first + max(len(was), 1))
            yield Mutant(file, around[-1], _joined(was), _joined(now), lines, code)
        start = end


def function_lines(source: str, line: int) -> range:
    """Return the lines of the function around a line, or of the file."""
    around = [span for _, span in _functions(ast.parse(source)) if line in span]
    return around[-1] if around else range(1, len(source.splitlines()) + 1)


def _functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, range]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
            yield prefix + child.name, range(first, (child.end_lineno or first) + 1)
            yield from _functions(child, f"{prefix}{child.name}.")
        else:
            yield from _functions(child, prefix)


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _difference(old: list[str], new: list[str]) -> tuple[list[str], list[str], int]:
    """Return the lines that differ, before and after, and the number of the first."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return old[start : len(old) - end], new[start : len(new) - end], start + 1


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)


def _changed(statement: cst.CSTNode, looks: Sequence[str]) -> Iterator[cst.CSTNode]:
    collector = _Collector(looks)
    statement.visit(collector)
    for old, new in collector.changes:
        changed = new if statement is old else statement.deep_replace(old, new)
        assert isinstance(changed, cst.CSTNode)
        yield changed


class _Collector(cst.CSTVisitor):
    """Collects pairs of a node and its replacement."""

    def __init__(self, looks: Sequence[str]) -> None:
        super().__init__()
        self.changes: list[tuple[cst.CSTNode, cst.CSTNode]] = []
        self._looks = looks

    def on_visit(self, node: cst.CSTNode) -> bool:
        # What is left out: types, imports, messages (of errors, and all texts that are no keys
        # or names), and what only looks.
        if isinstance(node, (cst.Annotation, cst.Import, cst.ImportFrom, cst.Assert)):
            return False
        if isinstance(node, cst.Arg) and node.keyword and node.keyword.value in self._looks:
            return False
        if matchers.matches(node, _EXPORTS):
            return False
        for kind, operator in [*_OPERATORS, *_OURS]:
            if isinstance(node, kind):
                self.changes += [
                    (node, new) for new in operator(node) if not self._dressed(node, new)
                ]
        return not isinstance(node, cst.Raise)

    def _dressed(self, node: cst.CSTNode, new: cst.CSTNode) -> bool:
        """Tell whether a call has lost an argument that only looks."""
        if not isinstance(node, cst.Call) or not isinstance(new, cst.Call):
            return False
        lost = [argument for argument in node.args if argument not in new.args]
        return any(a.keyword is not None and a.keyword.value in self._looks for a in lost)


def _text(node: cst.SimpleString) -> Iterable[cst.CSTNode]:
    if _KEY.fullmatch(node.value):
        yield node.with_changes(value=f"{node.value[0]}XX{node.value[1:]}")


def _arguments(node: cst.Call) -> Iterable[cst.CSTNode]:
    if isinstance(node.func, cst.Name) and node.func.value in ("isinstance", "len"):
        return
    for new in mutators.operator_arg_removal(node):
        if len(new.args) < len(node.args):
            yield new


def _deleted_statement(node: cst.SimpleStatementLine) -> Iterable[cst.CSTNode]:
    for index, statement in enumerate(node.body):
        droppable = isinstance(statement, (cst.AugAssign, cst.Raise, cst.Del))
        if isinstance(statement, cst.Expr):
            droppable = not isinstance(statement.value, cst.BaseString)
        if isinstance(statement, cst.Assign):
            droppable = not isinstance(statement.targets[0].target, cst.Name)
        if droppable:
            yield node.with_changes(body=[*node.body[:index], cst.Pass(), *node.body[index + 1 :]])


def _negated(node: cst.If | cst.CompIf) -> Iterable[cst.CSTNode]:
    test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    space = cst.SimpleWhitespace(" ")
    yield node.with_changes(test=cst.UnaryOperation(cst.Not(space), test))


def _without_context(node: cst.With) -> Iterable[cst.CSTNode]:
    for index, item in enumerate(node.items):
        if item.asname is None:
            rest = [*node.items[:index], *node.items[index + 1 :]]
            if rest:
                rest[-1] = rest[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
                yield node.with_changes(items=rest)
            else:
                yield cst.If(cst.Name("True"), node.body, leading_lines=node.leading_lines)


def _without_decorator(node: cst.FunctionDef) -> Iterable[cst.CSTNode]:
    for index, decorator in enumerate(node.decorators):
        if matchers.matches(decorator, matchers.Decorator(matchers.Name("staticmethod"))):
            continue  # what is called on its class is static without it
        yield node.with_changes(
            decorators=[*node.decorators[:index], *node.decorators[index + 1 :]]
        )


_OURS: mutators.OPERATORS_TYPE = [
    (cst.SimpleString, _text),
    (cst.Call, _arguments),
    (cst.SimpleStatementLine, _deleted_statement),
    (cst.If, _negated),
    (cst.CompIf, _negated),
    (cst.With, _without_context),
    (cst.FunctionDef, _without_decorator),
]
