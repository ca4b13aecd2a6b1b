"""BOT: bottom on IEEE tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from properties.compare import assert_same, backward, exact, flags, floats, leaf, name_of
from properties.tensor_strategies import dtypes, masks, several, tensors
from spec import bottom
from zeroproof import scm
from zeroproof.scm import SCMTensor


@dataclass(frozen=True)
class Operation:
    """An operation in three readings: total, IEEE, and exact where the result is rational."""

    name: str
    arity: int
    total: Callable[..., SCMTensor]
    ieee: Callable[..., Tensor]
    exact: Callable[..., bottom.Number] | None = None


OPERATIONS = (
    Operation("add", 2, scm.add, torch.add, bottom.add),
    Operation("sub", 2, scm.sub, torch.sub, bottom.sub),
    Operation("mul", 2, scm.mul, torch.mul, bottom.mul),
    Operation("div", 2, scm.div, torch.div, bottom.div),
    Operation("neg", 1, scm.neg, torch.neg, bottom.neg),
    Operation("inv", 1, scm.inv, torch.reciprocal, bottom.inv),
    Operation("absolute", 1, scm.absolute, torch.abs, bottom.absolute),
    Operation("sign", 1, scm.sign, torch.sign, bottom.sign),
    Operation("exp", 1, scm.exp, torch.exp),
    Operation("log", 1, scm.log, torch.log),
    Operation("sqrt", 1, scm.sqrt, torch.sqrt),
    Operation("power", 2, scm.power, torch.pow),
)
RATIONAL = tuple(operation for operation in OPERATIONS if operation.exact)
# torch rounds these alike wherever an element lies; exp, log and pow differ between the vectors
# of a kernel and their remainder.
POSITIONLESS = tuple(o for o in OPERATIONS if o.name not in ("exp", "log", "power"))

operations = st.sampled_from(OPERATIONS)


@dataclass(frozen=True)
class Case:
    """An operation and its operands."""

    operation: Operation
    operands: list[SCMTensor]

    @property
    def result(self) -> SCMTensor:
        """The total result."""
        return self.operation.total(*self.operands)


@st.composite
def cases(draw: st.DrawFn, operations: st.SearchStrategy[Operation] = operations) -> Case:
    """Draw operands of one dtype and shape, some of their elements ⊥ by mask."""
    operation = draw(operations, label="operation")
    payloads = draw(several(operation.arity), label="payloads")
    return Case(operation, [SCMTensor(x, draw(masks(x.shape))) for x in payloads])


@given(cases())
def test_BOT_1_absorption(case: Case) -> None:
    """The result is ⊥ wherever an operand is."""
    for operand in case.operands:
        assert bool((case.result.bottom | ~operand.bottom).all()), f"{case}: got {case.result!r}"


@given(cases(st.sampled_from([o for o in OPERATIONS if o.arity == 2])), st.data())
def test_BOT_1_broadcasting(case: Case, data: st.DataObject) -> None:
    """A ⊥ element of a broadcast operand is absorbed wherever it reaches."""
    x = case.operands[0]
    dtype, last = x.payload.dtype, x.shape[-1:]
    row = SCMTensor(data.draw(tensors(dtype, last)), data.draw(masks(last)))
    result = case.operation.total(x, row)
    expected = torch.broadcast_to(x.bottom | row.bottom, result.shape)
    assert result.shape == x.shape, f"broadcast shape {tuple(result.shape)}"
    assert bool((result.bottom | ~expected).all()), f"{case} with row {row!r}: got {result!r}"


@given(cases())
def test_BOT_2_total(case: Case) -> None:
    """No operation raises, or returns NaN or ±∞ outside its mask; under it the payload is 0."""
    result = case.result
    assert bool(torch.isfinite(result.payload).all()), f"{case}: payload {result.payload!r}"
    zero = torch.zeros_like(result.payload)
    assert_same(result.payload[result.bottom], zero[result.bottom], f"placeholders of {case}")


def _is_bottom(case: Case, index: int, value: float) -> bool:
    if any(flags(operand.bottom)[index] for operand in case.operands):
        return True
    arguments = [exact(operand.payload)[index] for operand in case.operands]
    return not (bottom.in_real_domain(case.operation.name, *arguments) and math.isfinite(value))


@given(cases())
def test_BOT_3_exactly_when(case: Case) -> None:
    """⊥ iff an operand is, the real domain is left, or IEEE overflows; else torch's very bits."""
    result = case.result
    value = case.operation.ieee(*(operand.payload for operand in case.operands))
    expected = [_is_bottom(case, index, v) for index, v in enumerate(floats(value))]
    assert flags(result.bottom) == expected, f"{case}: mask of {result!r} for IEEE {value!r}"
    keep = ~result.bottom
    assert_same(result.payload[keep], value[keep], f"payload of {case}")


@given(cases())
def test_BOT_3_with_a_graph(case: Case) -> None:
    """A result that is tracked for gradients has the same bits as one that is not."""
    tracked = [SCMTensor(leaf(x.payload), x.bottom) for x in case.operands]
    result = case.operation.total(*tracked)
    assert_same(result.payload, case.result.payload, f"tracked payload of {case}")
    assert_same(result.bottom, case.result.bottom, f"tracked mask of {case}")


@given(st.sampled_from([o for o in OPERATIONS if o.arity == 2]), dtypes, st.integers(0, 2**63 - 1))
@example(OPERATIONS[-1], torch.float32, 0)
def test_BOT_3_broadcast_with_a_graph(operation: Operation, dtype: torch.dtype, seed: int) -> None:
    """So has a result of operands that are broadcast against each other."""
    generator = torch.Generator().manual_seed(seed)
    column, row = (
        (0.1 + 3 * torch.rand(shape, generator=generator)).to(dtype) for shape in ((7, 1), (1, 19))
    )
    result = operation.total(SCMTensor(leaf(column)), SCMTensor(row))
    assert_same(result.payload, operation.ieee(column, row), f"tracked {operation.name}")


@given(
    several(1),
    st.sampled_from(["__add__", "__sub__", "__mul__", "__truediv__"]),
    st.sampled_from([0.1, -3.0, 1e-9, 1e9, 7.0]),
)
@example([torch.tensor([3.0]).half()], "__mul__", 0.1)
@example([torch.tensor([1e-5]).half()], "__mul__", 1e9)
def test_BOT_4_python_number(drawn: list[Tensor], operator: str, number: float) -> None:
    """A Python number is rounded to the carrier's dtype as it enters."""
    (x,) = drawn
    entered = torch.tensor(number, dtype=x.dtype)
    value = getattr(x, operator)(entered)
    known = torch.isfinite(x) & torch.isfinite(entered) & torch.isfinite(value)
    expected = value.masked_fill(~known, math.nan)
    result = getattr(SCMTensor(x), operator)(number)
    assert_same(result.to_ieee(), expected, f"{operator} of {x!r} and {number}")


@given(cases(st.sampled_from(RATIONAL)))
def test_BOT_3_correctly_rounded(case: Case) -> None:
    """A rational operation rounds the exact result correctly, and is ⊥ where it overflows."""
    reference = case.operation.exact
    assert reference is not None, "only rational operations are drawn here"
    result = case.result
    dtype_name = name_of(result.payload.dtype)
    entered = [[bottom.from_ieee(v) for v in floats(x.to_ieee())] for x in case.operands]
    for index, actual in enumerate(floats(result.to_ieee())):
        expected = bottom.round_to(dtype_name, reference(*(column[index] for column in entered)))
        found = bottom.BOTTOM if math.isnan(actual) else actual
        assert found == expected, f"{case}, element {index}: got {actual!r}, expected {expected!r}"


@given(several(1), st.data())
def test_BOT_4_boundary(drawn: list[Tensor], data: st.DataObject) -> None:
    """NaN and ±∞ enter as ⊥, all else as itself; ⊥ leaves as NaN."""
    (x,) = drawn
    mask = data.draw(masks(x.shape), label="mask")
    for carrier, marked in ((SCMTensor(x), torch.zeros_like(mask)), (SCMTensor(x, mask), mask)):
        expected = ~torch.isfinite(x) | marked
        assert_same(carrier.bottom, expected, f"mask of {x!r}")
        assert_same(carrier.to_ieee(), x.masked_fill(expected, math.nan), f"round trip of {x!r}")
        kept = torch.isfinite(x) & ~marked
        assert_same(carrier.payload[kept], x[kept], f"payload of {x!r}")


@given(dtypes, operations)
def test_BOT_4_plain_tensors(dtype: torch.dtype, operation: Operation) -> None:
    """A plain tensor operand enters at the boundary as a carrier would."""
    x = torch.tensor([1.0, math.nan, math.inf, -math.inf, 0.0], dtype=dtype)
    plain = operation.total(*[x] * operation.arity)
    carried = operation.total(*[SCMTensor(x)] * operation.arity)
    assert_same(plain.to_ieee(), carried.to_ieee(), f"{operation.name} of a plain tensor")
    assert flags(plain.bottom)[1:4] == [True] * 3, f"{operation.name} let a non-finite element in"


def _run(case: Case, payloads: list[Tensor], weight: Tensor) -> tuple[SCMTensor, list[Tensor]]:
    leaves = [leaf(payload) for payload in payloads]
    masks = [operand.bottom for operand in case.operands]
    carriers = [SCMTensor(x, mask) for x, mask in zip(leaves, masks, strict=True)]
    result = case.operation.total(*carriers)
    backward(result.payload, weight)
    return result, [x.grad for x in leaves if x.grad is not None]


@given(cases())
def test_BOT_5_isolation(case: Case) -> None:
    """What lies at ⊥ elements of the result changes no other value or gradient, bitwise."""
    payloads = [operand.payload for operand in case.operands]
    result, gradients = _run(case, payloads, torch.ones_like(case.result.payload))
    benign = [payload.masked_fill(result.bottom, 1.0) for payload in payloads]
    case_without = Case(
        case.operation,
        [
            SCMTensor(x, o.bottom & ~result.bottom)
            for x, o in zip(benign, case.operands, strict=True)
        ],
    )
    clean, clean_gradients = _run(case_without, benign, torch.ones_like(result.payload))
    keep = ~result.bottom
    assert_same(result.payload[keep], clean.payload[keep], f"values of {case}")
    assert len(gradients) == len(clean_gradients) == case.operation.arity, "all have a gradient"
    for ours, reference in zip(gradients, clean_gradients, strict=True):
        assert_same(ours[keep], reference[keep], f"gradients of {case}")
        zero = torch.zeros_like(ours)
        assert bool((ours[~keep] == zero[~keep]).all()), f"gradient at ⊥ of {case}: {ours!r}"


@given(cases(), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_BOT_5_incoming_gradient(case: Case, incoming: float) -> None:
    """A gradient that is not finite and arrives at ⊥ goes nowhere."""
    payloads = [operand.payload for operand in case.operands]
    ones = torch.ones_like(case.result.payload)
    poisoned = ones.masked_fill(case.result.bottom, incoming)
    _, calm = _run(case, payloads, ones)
    _, gradients = _run(case, payloads, poisoned)
    for ours, reference in zip(gradients, calm, strict=True):
        assert_same(ours, reference, f"gradients of {case} for an incoming {incoming}")


@given(cases(st.sampled_from(POSITIONLESS)), st.data())
def test_BOT_6_elementwise(case: Case, data: st.DataObject) -> None:
    """Operations commute with taking elements in any order, with repetition, and joining them."""
    size = case.result.payload.numel()
    picks = st.lists(st.integers(0, max(size - 1, 0)), max_size=6 if size else 0)
    index = torch.tensor(data.draw(picks, label="index"), dtype=torch.int64)
    flat = [SCMTensor(x.payload.flatten(), x.bottom.flatten()) for x in case.operands]
    whole = case.operation.total(*flat)
    part = case.operation.total(*(x[index] for x in flat))
    assert_same(part.to_ieee(), whole[index].to_ieee(), f"elements {index.tolist()} of {case}")
    joined = [
        SCMTensor(torch.cat([x.payload, x[index].payload]), torch.cat([x.bottom, x[index].bottom]))
        for x in flat
    ]
    expected = torch.cat([whole.to_ieee(), part.to_ieee()])
    assert_same(case.operation.total(*joined).to_ieee(), expected, f"concatenation of {case}")


@given(cases(st.sampled_from([o for o in OPERATIONS if o not in POSITIONLESS])), st.data())
def test_BOT_6_elementwise_masks(case: Case, data: st.DataObject) -> None:
    """exp, log and power commute with indexing up to torch's own last bits, masks in full."""
    size = case.result.payload.numel()
    picks = st.lists(st.integers(0, max(size - 1, 0)), max_size=6 if size else 0)
    index = torch.tensor(data.draw(picks, label="index"), dtype=torch.int64)
    flat = [SCMTensor(x.payload.flatten(), x.bottom.flatten()) for x in case.operands]
    whole = case.operation.total(*flat)[index]
    part = case.operation.total(*(x[index] for x in flat))
    info = torch.finfo(part.payload.dtype)
    near_largest = part.payload.abs().maximum(whole.payload.abs()) > 0.99 * info.max
    same = (part.bottom == whole.bottom) | near_largest
    assert bool(same.all()), f"masks at {index.tolist()} of {case}"
    keep = ~(part.bottom | whole.bottom)
    ours, theirs = part.payload[keep].double(), whole.payload[keep].double()
    bound = 4 * info.eps * theirs.abs() + info.smallest_normal
    assert bool(((ours - theirs).abs() <= bound).all()), f"values at {index.tolist()} of {case}"


@given(several(1))
@example([torch.tensor([3.0, 0.0, -2.0])])
def test_ALG_float_laws(drawn: list[Tensor]) -> None:
    """These laws hold exactly on floats: x + (−x) = 0·x, 0⁻¹ = ⊥, x/x = 1 + 0/x, s³ = s."""
    x = SCMTensor(drawn[0])
    zero = SCMTensor(torch.zeros_like(x.payload))
    one = SCMTensor(torch.ones_like(x.payload))
    laws = (
        ("x + (−x) = 0·x", x + (-x), zero * x),
        ("0⁻¹ = ⊥", scm.inv(zero), SCMTensor(zero.payload, torch.ones_like(x.bottom))),
        ("x/x = 1 + 0/x", x / x, one + zero / x),
        ("s(x/x) = x/x", scm.sign(x / x), x / x),
        ("s³ = s", scm.sign(x) * scm.sign(x) * scm.sign(x), scm.sign(x)),
        ("−(−x) = x", scm.neg(-x), x),
    )
    for law, left, right in laws:
        assert_same(left.bottom, right.bottom, f"masks of {law} at {x!r}")
        assert bool((left.payload == right.payload).all()), f"{law} fails at {x!r}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_BOT_2_every_operation_can_be_bottom(operation: Operation) -> None:
    """⊥ is within reach of every operation, and so is a value."""
    one = SCMTensor(torch.ones(2), torch.tensor([False, True]))
    assert flags(operation.total(*[one] * operation.arity).bottom) == [False, True], operation.name
