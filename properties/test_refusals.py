"""ARG: arguments that cannot be meant."""

from __future__ import annotations

import pytest

from properties.assertions import assert_clause
from spec.refusals import REFUSED, RENAMED, Refuses


@pytest.mark.parametrize("operation", REFUSED)
def test_ARG_1_refusals(subject: Refuses, operation: str) -> None:
    assert_clause("ARG-1", subject, operation)


@pytest.mark.parametrize(("operation", "keyword"), RENAMED)
def test_ARG_2_renamed(subject: Refuses, operation: str, keyword: str) -> None:
    assert_clause("ARG-2", subject, operation, keyword)
