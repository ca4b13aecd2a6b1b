"""Train on smooth projective tuples, infer on strict values with ⊥.

The package implements signed common meadows, where division is total: ``x/0`` is
the absorbing value ⊥. Docstrings name the clauses of the specification they meet
(``spec/``), such as ``Meets: LIFT-1``.
"""

__version__ = "0.4.0"
