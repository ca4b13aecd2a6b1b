"""Signed common meadows on tensors: the carrier, its total arithmetic, model outputs."""

from zeroproof.scm.carrier import (
    SCMTensor,
    absolute,
    add,
    div,
    exp,
    inv,
    log,
    mul,
    neg,
    power,
    sign,
    sqrt,
    sub,
)
from zeroproof.scm.outputs import (
    as_tuple,
    bottom_mask,
    gate_outputs,
)

__all__ = [
    "SCMTensor",
    "absolute",
    "add",
    "as_tuple",
    "bottom_mask",
    "div",
    "exp",
    "gate_outputs",
    "inv",
    "log",
    "mul",
    "neg",
    "power",
    "sign",
    "sqrt",
    "sub",
]
