"""The words of the clauses, each defined once."""

from __future__ import annotations

from typing import Final

GLOSSARY: Final[dict[str, str]] = {
    "⊥": "Bottom: the value of a division by zero; every operation on ⊥ gives ⊥.",
    "tuple": "A pair (N, D) ≠ (0, 0) of numbers that represents N/D; with D = 0 it is infinite.",
    "lift": "To turn a target into a tuple (Y_n, Y_d), before the loss compares it with (P, Q).",
    "singular": "A target is singular if it is ±∞ or NaN; every other target is finite.",
    "arc": "The lines from one number up to another, through infinity if the first is larger.",
    "decode": "To turn a tuple (P, Q) into the value P/Q, or into ⊥ where |Q| is below τ.",
    "gauge": "What a threshold is compared with: |Q| (raw), or |Q| / ‖(P, Q)‖ (unit).",
    "τ": "A threshold for denominators; τ_train is drawn from [τ_min, τ_max] while training.",
    "gap": "The denominators from τ_infer up to τ_train, which decode but were ⊥ in training.",
    "policy": "The rule by which a backward pass replaces gradients at ⊥, such as CLAMP.",
    "magnitude": "The value of an expression with every term replaced by its absolute value.",
    "ε": "The distance from 1 to the next larger number of a floating-point format.",
    "coverage": "The share of samples whose prediction is not ⊥.",
    "micro-batch": "What the loader yields at a time; a sample is one row of it.",
    "window": "The micro-batches whose gradients make one update.",
    "update": "One step of the optimizer, or the decision to skip it.",
    "rank": "One of the processes that train a model together.",
    "clause": "A numbered rule, such as LIFT-2, and the predicate that holds a subject to it.",
    "claim": "One thing that a clause says and that could be false alone, such as STEP-3.2.",
    "subject": "An object that carries out what a predicate asks for, by means of a library.",
    "fault": "A subject that is wrong on purpose in one way, which a claim has to catch.",
    "Guide": "In a source: the “ZeroProof v0.4 Training Guide”, not the guide of this book.",
    "Paper": "In a source: a publication, given by its authors and its number.",
    "Ours": "In a source: a decision of this project, with its reason.",
}
