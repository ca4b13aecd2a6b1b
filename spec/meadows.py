"""ALG: the laws of common meadows with a sign, and the laws of fields that ⊥ breaks."""

from __future__ import annotations

from typing import Final

from .laws import Survival, law

CORE: Final = "Paper: Bergstra & Ponse, arXiv 1406.6878; Ours: what survives rounding"
FRACTERMS: Final = "Paper: Bergstra & Tucker, arXiv 2307.04270; Ours: what survives rounding"
DIVISION: Final = "Paper: Bergstra & Tucker, arXiv 2307.04270; Ours: that it is one"
SIGN: Final = "Paper: Bergstra & Tucker, doi 10.36285/tm.97; Ours: what survives rounding"
ABSORPTION: Final = "Ours: a law of fields that ⊥ contradicts; a checker that passes it sees no ⊥"

MEADOWS: Final[tuple[tuple[str, Survival, str, str, str], ...]] = (
    ("ALG-1", "exact", CORE, "addition_commutes",
     "Addition is commutative, ``x + y = y + x``."),
    ("ALG-2", "rounded", CORE, "addition_associates",
     "Addition is associative, ``(x + y) + z = x + (y + z)``."),
    ("ALG-3", "exact", CORE, "multiplication_commutes",
     "Multiplication is commutative, ``x · y = y · x``."),
    ("ALG-4", "rounded", CORE, "multiplication_associates",
     "Multiplication is associative, ``(x · y) · z = x · (y · z)``."),
    ("ALG-5", "exact", CORE, "zero_is_neutral",
     "Zero is neutral, ``x + 0 = x``."),
    ("ALG-6", "exact", CORE, "opposites_cancel",
     "Opposites cancel to the zero of their kind, ``x + (−x) = 0 · x``."),
    ("ALG-7", "exact", CORE, "one_is_neutral",
     "One is neutral, ``1 · x = x``."),
    ("ALG-8", "rounded", CORE, "multiplication_distributes",
     "Multiplication distributes over addition, ``x · (y + z) = x · y + x · z``."),
    ("ALG-9", "exact", CORE, "negation_undoes_itself",
     "Negation undoes itself, ``−(−x) = x``."),
    ("ALG-10", "rounded", CORE, "zeros_agree",
     "The zeros of a sum and of a product agree, ``0 · (x + y) = 0 · (x · y)``."),
    ("ALG-11", "exact", CORE, "bottom_absorbs_sums",
     "Bottom absorbs in sums, ``x + ⊥ = ⊥``."),
    ("ALG-12", "rounded", CORE, "inverses_cancel",
     "A number times its inverse is the one of the inverse's kind, ``x · x⁻¹ = 1 + 0 · x⁻¹``."),
    ("ALG-13", "rounded", CORE, "inverse_of_product",
     "The inverse of a product is the product of the inverses, ``(x · y)⁻¹ = x⁻¹ · y⁻¹``."),
    ("ALG-14", "exact", CORE, "inverse_of_one",
     "The one of any kind is its own inverse, ``(1 + 0 · x)⁻¹ = 1 + 0 · x``."),
    ("ALG-15", "exact", CORE, "inverse_of_zero",
     "The inverse of zero is bottom, ``0⁻¹ = ⊥``."),
    ("ALG-16", "rounded", DIVISION, "division_by_inverse",
     "Division is multiplication by the inverse, ``x / y = x · y⁻¹``.\n\n"
     "For numbers it is a definition; floats divide with one rounding."),
    ("ALG-17", "exact", FRACTERMS, "denominator_one",
     "A number is a fraction, ``x = x / 1``."),
    ("ALG-18", "exact", FRACTERMS, "negated_fraction",
     "A fraction is negated in its numerator, ``−(x / y) = (−x) / y``."),
    ("ALG-19", "rounded", FRACTERMS, "product_of_fractions",
     "Fractions multiply part by part, ``(x / y) · (u / v) = (x · u) / (y · v)``."),
    ("ALG-20", "rounded", FRACTERMS, "sum_of_fractions",
     "Fractions add over the product, ``x / y + u / v = (x · v + y · u) / (y · v)``."),
    ("ALG-21", "rounded", FRACTERMS, "fraction_of_fraction",
     "Division by a fraction keeps its denominator, ``x / (u / v) = (x · v · v) / (u · v)``."),
    ("ALG-22", "exact", FRACTERMS, "zero_moves_up",
     "A zero moves from denominator to numerator, ``x / (y + 0 · z) = (x + 0 · z) / y``."),
    ("ALG-23", "exact", FRACTERMS, "bottom_is_a_fraction",
     "Bottom is the fraction ``⊥ = 1 / 0``."),
    ("ALG-24", "exact", CORE, "bottom_absorbs_products",
     "Bottom absorbs in products, ``x · ⊥ = ⊥``, also where x is 0."),
    ("ALG-25", "exact", CORE, "negated_bottom",
     "The opposite of bottom is bottom, ``−⊥ = ⊥``."),
    ("ALG-26", "exact", CORE, "inverse_of_bottom",
     "The inverse of bottom is bottom, ``⊥⁻¹ = ⊥``."),
    ("ALG-27", "rounded", CORE, "inverse_of_inverse",
     "Inversion undoes itself except at zero, ``(x⁻¹)⁻¹ = x + 0 · x⁻¹``."),
    ("ALG-28", "exact", CORE, "fraction_of_equals",
     "A number over itself is one except at zero, ``x / x = 1 + 0 / x``."),
    ("ALG-29", "exact", SIGN, "sign_by_absolute",
     "The sign is a number over its absolute value, except at zero: ``x / |x| = s(x) + 0 / x``.\n\n"
     "The summand ``0 / x`` makes an equation of the definition of the sign, for ``x ≠ 0``."),
    ("ALG-30", "exact", SIGN, "sign_of_zero",
     "Zero is its own sign, ``s(0) = 0``."),
    ("ALG-31", "exact", SIGN, "sign_of_bottom",
     "Bottom is its own sign, ``s(⊥) = ⊥``."),
    ("ALG-32", "exact", SIGN, "sign_of_one",
     "The one of any kind is its own sign, ``s(x / x) = x / x``."),
    ("ALG-33", "exact", SIGN, "sign_of_difference_from_one",
     "The zero of any kind is its own sign, ``s(1 − x / x) = 1 − x / x``."),
    ("ALG-34", "exact", SIGN, "sign_of_minus_one",
     "Minus one is its own sign, ``s(−1) = −1``."),
    ("ALG-35", "rounded", SIGN, "sign_of_product",
     "The sign of a product is the product of the signs, ``s(x · y) = s(x) · s(y)``."),
    ("ALG-36", "rounded", SIGN, "sign_of_fraction",
     "The sign of a fraction is the fraction of the signs, ``s(x / y) = s(x) / s(y)``."),
    ("ALG-37", "exact", SIGN, "sign_of_sign",
     "A sign is its own sign, ``s(s(x)) = s(x)``."),
    ("ALG-38", "rounded", SIGN, "sign_of_sum",
     "The sum of numbers of one sign has that sign, ``s(x) = s(y) ⇒ s(x + y) = s(x)``."),
    ("ALG-39", "exact", SIGN, "cube_of_sign",
     "A sign is its own cube, ``s(x) · s(x) · s(x) = s(x)``, as numbers are ordered."),
)  # fmt: skip
"""Each law: what of it survives rounding, its source, its name, and what it says."""

FIELDS: Final = (
    ("ALG-40", "every_inverse_cancels", "x · x⁻¹ = 1", "x = 0"),
    ("ALG-41", "zero_annihilates", "0 · x = 0", "x = ⊥"),
    ("ALG-42", "difference_of_equals", "x − x = 0", "x = ⊥"),
    ("ALG-43", "inversion_undoes_itself", "(x⁻¹)⁻¹ = x", "x = 0"),
    ("ALG-44", "fractions_cancel", "x·z / (y·z) = x / y", "z = 0"),
    ("ALG-45", "fraction_turns_over", "x / (u/v) = x·v / u", "v = 0"),
    ("ALG-46", "sign_of_inverse", "s(1 / x) = s(x)", "x = 0"),
)  # fmt: skip
"""Each law that ⊥ breaks: its name, its equation, and where only one side is ⊥."""

for _row in MEADOWS:
    law(*_row)
for _id, _name, _equation, _where in FIELDS:
    law(_id, None, ABSORPTION, _name, f"The field law ``{_equation}`` fails: somewhere, as at "
        f"{_where}, only one side is ⊥.")  # fmt: skip
