"""Arithmetic with carriers is total, and ⊥ absorbs."""

from __future__ import annotations

import dataclasses
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import values
from zeroproof import scm
from zeroproof.scm import SCMTensor

NAN, INF = torch.nan, torch.inf


def test_division_is_total_and_bottom_absorbs() -> None:
    x = SCMTensor(torch.tensor([6.0, 1.0, 0.0, NAN, INF]))
    y = SCMTensor(torch.tensor([3.0, 0.0, 0.0, 1.0, 1.0]))
    assert values(x / y) == [2.0, None, None, None, None]
    assert values(0 * (x / y)) == [0.0, None, None, None, None]
    assert values(x / y + 1) == values(1 + x / y) == [3.0, None, None, None, None]
    assert values(1 - y) == [-2.0, 1.0, 1.0, 0.0, 0.0]
    assert values(2**y) == [8.0, 1.0, 1.0, 2.0, 2.0]
    assert values(abs(-y)) == [3.0, 0.0, 0.0, 1.0, 1.0]
    assert values((x / y)[:2]) == [2.0, None]
    assert (x / y).payload.tolist() == [2.0, 0.0, 0.0, 0.0, 0.0]
    assert repr(1 / y[:2]) == "SCMTensor(tensor([0.3333,    nan]))"
    assert (x / y).shape == (5,)
    assert values(y * torch.tensor(2.0)) == [6.0, 0.0, 0.0, 2.0, 2.0]


@pytest.mark.parametrize("number", [0.1, -3.0, 1e-9, 1e9, 7.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_operators_are_the_functions_and_commute_with_indexing(
    dtype: torch.dtype, number: float
) -> None:
    x = SCMTensor(torch.tensor([3.0, 1e-5, 0.0, NAN, INF, -2.0], dtype=dtype))
    chosen = torch.tensor([5, 0, 3, 0])
    operations = [
        (scm.add, operator.add),
        (scm.sub, operator.sub),
        (scm.mul, operator.mul),
        (scm.div, operator.truediv),
    ]
    for function, symbol in operations:
        for left, right in ((x, number), (number, x), (x, x)):
            assert values(symbol(left, right)) == values(function(left, right))
        assert values(function(x, number)[chosen]) == values(function(x[chosen], number))


@pytest.mark.parametrize(
    "operation",
    [
        scm.add,
        scm.sub,
        scm.mul,
        scm.div,
        scm.power,
        scm.neg,
        scm.inv,
        scm.absolute,
        scm.sign,
        scm.exp,
        scm.log,
        scm.sqrt,
    ],
)
def test_every_operation_can_be_bottom_and_a_value(operation: Callable[..., SCMTensor]) -> None:
    one = SCMTensor(torch.ones(2), torch.tensor([False, True]))
    binary = operation in (scm.add, scm.sub, scm.mul, scm.div, scm.power)
    assert operation(*[one] * (1 + binary)).bottom.tolist() == [False, True]


@pytest.mark.parametrize(
    ("operation", "argument", "expected"),
    [
        (scm.log, [1.0, 0.0, -1.0], [0.0, None, None]),
        (scm.sqrt, [4.0, 0.0, -1.0], [2.0, 0.0, None]),
        (scm.exp, [0.0, 1000.0, -1000.0], [1.0, None, 0.0]),
        (scm.inv, [4.0, 0.0, 1e-45], [0.25, None, None]),
        (scm.sign, [-3.0, 0.0, NAN], [-1.0, 0.0, None]),
        (lambda x: x**-1, [2.0, 0.0, INF], [0.5, None, None]),
        (lambda x: x**0.5, [4.0, 0.0, -4.0], [2.0, 0.0, None]),
        (lambda x: x - x, [1.0, INF, NAN], [0.0, None, None]),
    ],
)
def test_operations_outside_their_domain_are_bottom(
    operation: Callable[[SCMTensor], SCMTensor], argument: list[float], expected: list[Any]
) -> None:
    assert values(operation(SCMTensor(torch.tensor(argument)))) == expected


def test_operands_of_two_dtypes_are_promoted() -> None:
    single, double = torch.tensor([0.1]), torch.tensor([0.1], dtype=torch.float64)
    found = scm.add(SCMTensor(single), double)
    assert found.payload.dtype == torch.float64
    assert found.payload.item() == single.item() + 0.1


def test_carriers_of_the_wrong_kind_are_named(unchecked: None) -> None:
    with pytest.raises(
        TypeError, match=r"payload must be a floating-point tensor, got .*torch\.int64"
    ):
        SCMTensor(torch.tensor([1]))
    with pytest.raises(TypeError, match=r"bottom must be a tensor of torch\.bool"):
        SCMTensor(torch.ones(2), torch.zeros(2))
    with pytest.raises(ValueError, match=r"bottom has shape \(3,\), the tensors \(2,\)"):
        SCMTensor(torch.ones(2), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(TypeError, match="at least one tensor"):
        scm.add(1.0, 2.0)


def test_a_carrier_does_not_change_and_compares_by_identity() -> None:
    x = SCMTensor(torch.ones(2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        x.payload = torch.zeros(2)  # type: ignore[misc]
    assert x == x
    assert x != SCMTensor(torch.ones(2))
    assert len({x, x}) == 1


def test_operations_are_pickled_by_their_names() -> None:
    for name in ("add", "absolute", "inv", "power", "sqrt"):
        operation = getattr(scm, name)
        assert operation.__name__ == name
        assert pickle.loads(pickle.dumps(operation)) is operation


def test_an_array_leaves_an_operation_to_a_carrier(unchecked: None) -> None:
    for found in (
        np.array([1.0, 0.0]) / SCMTensor(torch.tensor([2.0, 0.0])),
        1 / SCMTensor(torch.ones(3)),
    ):
        assert isinstance(found, SCMTensor)


def test_an_array_beside_a_carrier_keeps_its_dtype(unchecked: None) -> None:
    x, array = SCMTensor(torch.ones(2)), np.array([0.1, 1e-60])
    for found in (x * array, array * x):
        assert found.payload.tolist() == array.tolist()
    assert (x * np.float64(0.1)).payload.dtype == torch.float32  # a number
    assert (x + np.array([1, 2])).payload.tolist() == [2.0, 3.0]


def test_a_carrier_is_no_container_and_without_a_dimension_not_iterable() -> None:
    assert [y.payload.item() for y in SCMTensor(torch.tensor([3.0, 4.0]))] == [3.0, 4.0]
    with pytest.raises(TypeError):
        list(SCMTensor(torch.tensor(3.0)))
    with pytest.raises(TypeError):
        assert 1.0 not in SCMTensor(torch.ones(2))  # type: ignore[operator]
