"""Test vectors: cases of every clause that has a value, for implementations in any language.

``python -m spec vectors`` writes them. They come from the exact rules of the chapters alone: every
number stands as exact hexadecimal, and where a clause allows for rounding, as the range that the
clause's own tolerance gives.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any, Final

from .. import SPEC_VERSION
from ..carriers import ARITY
from ..losses import LOSSES
from . import (
    arithmetic,
    choosing,
    composites,
    coverages,
    gradients,
    likelihoods,
    measures,
    squares,
    trainings,
    tuples,
    updates,
)
from .cases import Case, Maker, written

FORMAT: Final = 1
"""The version of the format, raised when a reader would have to change."""

VECTORS: Final = Path(__file__).parent / "vectors.json"
SCHEMA: Final = Path(__file__).parent / "schema.json"

REASONS: Final = {
    "it is about operators, which are the host language's own": "BOT-9",
    "it is about indexing, which is the host library's own": "BOT-10",
    "it is about gradients through operations, which BOT-5 has values for": "BOT-11",
    "it is about the windows of a trainer under a policy": "POL-12",
    "it compares a state before and after, whatever the state is": "TAU-4 LOG-3 VAL-2",
    "it compares draws of one implementation with each other": "TAU-5",
    "it is about the distribution of many draws": "TAU-6 THR-3",
    "it is about the distribution of many draws, and compares runs with each other": "TAU-9",
    "it is about the modes of a model, which is the host library's own": "DEC-8",
    "its values are those of polynomials, up to rounding": "DEC-10",
    "it is about automatic differentiation, which is the host library's own": "LOSS-19 VAL-3",
    "its numbers are read off its sentence": "LIK-11",
    "the sign of its tuples is free": "LIK-12",
    "its fits are those of LIK-1, LIK-2 and LIK-9": "LIK-13",
    "it leaves open which dtypes there are": "AMP-4",
    "it is about thousands of updates": "AMP-6",
    "it is about when the host waits": "STEP-4",
    "it compares two ways to run one implementation": "STEP-6 LOG-6",
    "it is about a scheduler, which is the host library's own": "STEP-7 STEP-10 STEP-12",
    "it is about optimizers, which are the host library's own": "STEP-8 STEP-14",
    "it is about the modes and buffers of a model, which are the host library's own": "STEP-9",
    "it is about options, whose names and ranges are an implementation's own": "STEP-11",
    "it is about what a loader yields, which is the host library's own": "STEP-13",
    "it is about a random order, whatever that is": "STEP-15",
    "it is about a loss that is a function of the host language": "LOG-5",
    "its weights are read off its sentence": "CUR-2",
    "its resolutions are read off its sentence": "CUR-3",
    "it is about a file while it is written": "RES-2",
    "it is about files whose form is an implementation's own": "RES-3 RES-6 RES-7",
    "it is about signals of the operating system": "RES-4 RES-9 DDP-2",
    "it is about types, which are the host language's own": "RES-5",
    "it is about loaders, which files cannot hold": "RES-8",
    "it is about errors, which are the host language's own": "ARG-1",
    "it is about keywords, which are the host language's own": "ARG-2",
}
"""Why clauses have no value, each reason with its clauses."""

WITHOUT: Final = {id: why for why, ids in REASONS.items() for id in ids.split()}
"""The clauses that have no value, and why."""

OPERATIONS: Final[dict[str, Maker]] = {
    "evaluate": arithmetic.evaluate,
    **dict.fromkeys(ARITY, arithmetic.apply),
    "backward": arithmetic.backward,
    "enter": arithmetic.enter,
    "leave": arithmetic.leave,
    "lift": tuples.lifting,
    "lift_interval": tuples.interval_lifting,
    "orientation": tuples.orientations,
    "round_trip": tuples.round_trip,
    "loss_arguments": updates.loss_arguments,
    "as_tuples": tuples.tuples,
    "draw": tuples.draw,
    "train": trainings.train,
    "midpoint": tuples.midpoints,
    "decode": tuples.decoding,
    "decode_within": likelihoods.decoding_within,
    "decode_shared": likelihoods.decoding_shared,
    "choose_threshold": choosing.least_cost,
    "certify_threshold": choosing.certificate,
    "policy": gradients.policy,
    "scoped_policy": gradients.scoped_policy,
    "output_gradient": gradients.output_gradient,
    "decode_backward": tuples.decode_backward,
    "policy_value": gradients.policy_value,
    **{f"{loss}_loss": measures.loss for loss in LOSSES},
    "squares_loss": squares.squares,
    "training_loss": composites.training_loss,
    "likelihood": likelihoods.likelihood,
    "interval_likelihood": likelihoods.interval_likelihood,
    "probability": likelihoods.probability,
    "central_interval": likelihoods.central_interval,
    "joint_likelihood": likelihoods.joint_likelihood,
    "joint_probability": likelihoods.joint_probability,
    "bottom_mask": coverages.bottom_mask,
    "coverage": coverages.coverage,
    "epoch_coverage": coverages.epoch,
    "interval_coverage": coverages.intervals,
    "watch": coverages.watch,
    "window_gradient": updates.mean,
    "updates_per_epoch": updates.count,
    "precision": updates.precision,
    "phases": updates.phases,
    "untrainable": updates.untrainable,
    "validation_mean": updates.mean,
}
"""The operations in the order of their clauses, and what makes the cases of each."""


def _text(maker: Maker) -> str:
    """Return what an operation does, a paragraph a line."""
    paragraphs = (maker.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _plain(name: str, number: int, case: Case) -> dict[str, Any]:
    outcome = {"refusal": case.refusal} if case.refusal else {"result": written(case.result)}
    head = {"id": f"{name}/{number}", "clauses": case.clauses.split(), "operation": name}
    return head | {"arguments": written(case.arguments)} | outcome


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write(path: Path) -> None:
    """Write the file, one case a line.

    Each operation has a random source of its own, so that one more case changes no other's.
    """
    texts = [f"{_compact(name)}:{_compact(_text(o))}" for name, o in OPERATIONS.items()]
    cases = [
        _compact(_plain(name, number, case))
        for name, maker in OPERATIONS.items()
        for number, case in enumerate(maker(name, Random(name)))
    ]
    parts = [
        f'{{"format":{FORMAT},"spec_version":{_compact(SPEC_VERSION)},', '"operations":{',
        ",\n".join(texts), '},"cases":[', ",\n".join(cases), "]}\n",
    ]  # fmt: skip
    path.write_text("\n".join(parts), "utf-8")
