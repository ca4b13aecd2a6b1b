"""Profiles of the search, one random state per example, and the subjects under test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings

import properties.torch_random  # noqa: F401
from properties.assertions import unshrunk
from properties.subjects.exact import Exact
from properties.subjects.zeroproof import ZeroProof
from properties.trace import Recorder

# Adapters of other packages, which are not here.
collect_ignore = ["subjects/third_party/adapters"]

_EXAMPLES = 100
_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")

# A first call into torch may take seconds, which says nothing about the example.
_slow = [HealthCheck.too_slow]
settings.register_profile("dev", max_examples=_EXAMPLES, deadline=None, suppress_health_check=_slow)
settings.register_profile(
    "ci", settings.get_profile("dev"), derandomize=True, database=None, print_blob=True
)
settings.register_profile(
    "nightly", settings.get_profile("dev"), max_examples=50 * _EXAMPLES, print_blob=True
)
settings.load_profile(_PROFILE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to record what the properties held."""
    parser.addoption("--record", action="store_true", help="write spec/trace.json from this run")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record"):
        # Of several processes one gets the reports of all, and writes.
        config.pluginmanager.register(Recorder(writes=not hasattr(config, "workerinput")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what takes a subject on the exact reference and on ``zeroproof``.

    Where ``zeroproof`` is known not to meet a clause, the property must fail, and is removed from
    the known ones as soon as it does not.
    """
    if "subject" not in metafunc.fixturenames:
        return
    unmet = metafunc.definition.get_closest_marker("unmet")
    marks = [pytest.mark.xfail(strict=True, reason=unmet.args[0])] if unmet else []
    subjects = [
        pytest.param(Exact(), id="exact"),
        pytest.param(ZeroProof(), id="zeroproof", marks=marks),
    ]
    # Each alone, too, so that a mutant that few inputs show is found in a moment.
    examples = getattr(metafunc.function, "hypothesis_explicit_examples", ())
    for number in range(len(examples) if _PROFILE == "mutants" else 0):
        alone = [*marks, pytest.mark.alone(number)]
        subjects.append(pytest.param(ZeroProof(), id=f"zeroproof-example{number}", marks=alone))
    metafunc.parametrize("subject", subjects)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what is compiled: at the end one process would wait for it."""
    items.sort(key=lambda item: "STEP_6" not in item.name)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Spare what must fail the search for its smallest failure; or try one example alone."""
    must_fail = pyfuncitem.get_closest_marker("xfail")
    example = pyfuncitem.get_closest_marker("alone")
    test: Any = pyfuncitem.obj
    with ExitStack() as stack:
        if must_fail:
            stack.enter_context(unshrunk(test))
        if example:
            chosen = [test.hypothesis_explicit_examples[example.args[0]]]
            name = "_hypothesis_internal_use_settings"
            explicit = settings(getattr(test, name), phases=[Phase.explicit])
            stack.enter_context(mock.patch.object(test, "hypothesis_explicit_examples", chosen))
            stack.enter_context(mock.patch.object(test, name, explicit))
        return (yield)
