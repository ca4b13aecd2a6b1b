"""How torch.compile is asked for a graph."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FunctionType, MethodType
from typing import Any

import torch

CODE = {
    *("BUILTIN_MATCH", "CLASS_MATCH", "CLOSURE_MATCH", "FUNCTION_MATCH", "MODULE_MATCH"),
    *("DICT_KEYS_MATCH", "DUPLICATE_INPUT", "TYPE_MATCH", "WEAKREF_ALIVE"),
}
"""Guards of what the code is, not of the values that it finds."""
FIXED = (
    *("G['__import_torch", "G['__import_zeroproof", "__import__('torch')"),
    *("self.optimizer", "list(dict.keys(self._gradients_of"),
)
"""Prefixes of guards whose values stay, or that the caller of the graph checks."""


CAUSES = {
    "FailOnRecompileLimitHit": "compile=True met too many kinds of batches, or of numbers that "
    "model or loss change, each a graph of its own; give batches of one size (drop_last=True, "
    "padding), hold the numbers in tensors",
    "Unsupported": "compile=True cannot trace the model or the loss, such as one that calls "
    "torch.autograd.grad; change it",
}
"""Meanings of torch's errors by their names, since importing them takes seconds."""


def compiled(method: Any, device: torch.device, *, fullgraph: bool = False) -> Callable[..., Any]:
    """Compile a method for the very shapes that it is called with.

    With ``fullgraph`` it raises ValueError where torch.compile cannot make that graph.
    """
    # A copy, since torch.compile limits the graphs of one code object to eight.
    function: FunctionType = method.__func__
    parts = function.__globals__, function.__name__, function.__defaults__, function.__closure__
    own = MethodType(FunctionType(function.__code__.replace(), *parts), method.__self__)
    options = {**compile_options(device), "guard_filter_fn": _guards_of_values}
    graphs = torch.compile(own, fullgraph=fullgraph, dynamic=False, options=options)

    def limited(*arguments: Any) -> Any:
        try:
            return graphs(*arguments)
        except Exception as error:
            if (reason := CAUSES.get(type(error).__name__)) is None:
                raise
            first = str(error).partition("\n")[0]
            raise ValueError(f"{reason}, or use compile=False ({first})") from error

    return limited


def _guards_of_values(guards: Sequence[Any]) -> list[bool]:
    """Choose the guards of what may change in a run; all of them take as long as a small graph."""
    return [
        g.name.startswith("batch") or (g.guard_type not in CODE and not g.name.startswith(FIXED))
        for g in guards
    ]


def compile_options(device: torch.device) -> dict[str, Any]:
    """Return options of ``torch.compile`` for a loss, beside the default ones.

    Six sums of a loss share a long expression. On a GPU the compiler's defaults would keep it in
    memory, where computing it again is cheaper, and would reorder loops of an optimizer's step,
    which fails (torch 2.11). On a CPU, C++ calls small kernels at less cost; it was tried on Linux
    only.
    """
    if device.type == "cuda":
        return {
            "realize_opcount_threshold": 1000,
            "realize_reads_threshold": 100,
            "loop_ordering_after_fusion": False,
        }
    return {"cpp_wrapper": True} if device.type == "cpu" and sys.platform == "linux" else {}
