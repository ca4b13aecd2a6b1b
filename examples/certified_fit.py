"""Fit a quotient of polynomials by least squares: ``python examples/certified_fit.py Hahn1.dat``.

Takes a file of NIST's nonlinear regression suite (Hahn1.dat and Kirby2.dat ship with the package),
or any file of two columns x and y. No start has to be known: x and y are scaled, a few positive
denominators are drawn, and the best fit is printed in the units of the file. Where the file holds
certified values, LRE is the number of digits on which the fit agrees with them:

    python examples/certified_fit.py Kirby2.dat --degrees 2 2
"""

from __future__ import annotations

import argparse
import math
import re
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from zeroproof import LossConfig, SCMTrainer, SCMTrainingLoss, TensorBatches, TrainingConfig
from zeroproof.layers import ProjectiveRationalHead

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


def read(path: Path) -> tuple[Tensor, Tensor, list[float], float]:
    """Return x, y, and the certified parameters and residual sum, if the file has them."""
    shipped = files("zeroproof.data") / path.name
    text = (path if path.exists() else shipped).read_text(encoding="utf-8")
    nist = text.startswith("NIST/ITL StRD")
    table = re.split(r"^Data:\s+y\s+x\s*$", text, flags=re.MULTILINE)[-1]
    rows = [re.split(r"[\s,;]+", line.strip()) for line in table.splitlines()]
    pairs = [[*map(float, row)] for row in rows if all(re.fullmatch(NUMBER, c) for c in row)]
    first, second = torch.tensor(pairs).T
    x, y = (second, first) if nist else (first, second)  # where y is the first column
    lines = re.findall(rf"^ *b\d+ = .* ({NUMBER}) +{NUMBER} *$", text, flags=re.MULTILINE)
    found = re.search(rf"^Residual Sum of Squares: +({NUMBER})", text, flags=re.MULTILINE)
    return x, y, [float(line) for line in lines], float(found[1]) if found else math.nan


def fit(x: Tensor, y: Tensor, degrees: tuple[int, int]) -> ProjectiveRationalHead:
    """Fit from a random denominator that has no root between the data."""
    head = ProjectiveRationalHead(*degrees, domain=(x.min().item(), x.max().item()))
    with torch.no_grad():
        head.numerator.zero_()  # from x / 1 half of the starts of Hahn1 get nowhere
        row = torch.rand(degrees[1]) * 2 - 1
        head.denominator[1:] = 0.9 * torch.rand(()) * row / row.abs().sum().clamp(min=1e-9)
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=400, history_size=20, line_search_fn="strong_wolfe",
        tolerance_grad=0.0, tolerance_change=1e-17,
    )  # fmt: skip
    loss, loader = (
        SCMTrainingLoss(LossConfig(fit="squares")),
        TensorBatches(x, y, batch_size=len(x)),
    )
    SCMTrainer(head, optimizer, loss, loader, config=TrainingConfig(max_epochs=1)).fit()
    return head


def residual_sum(head: ProjectiveRationalHead, x: Tensor, y: Tensor) -> float:
    """Return the sum of squared residuals."""
    with torch.no_grad():
        P, Q = head(x)
    return (P / Q - y).square().sum().item()


def in_powers_of_x(row: Tensor, domain: Tensor) -> Tensor:
    """Return a polynomial's coefficients in powers of x, from those of the mapped input."""
    middle, half = domain.mean(), (domain[1] - domain[0]) / 2
    found = torch.zeros_like(row)
    for coefficient in row.flip(0):  # found · (x − middle) / half + coefficient
        found = (found.roll(1) - middle * found) / half
        found[0] += coefficient
    return found


def lre(found: float, certified: float) -> float:
    """Return the number of digits that agree, of the eleven that NIST certifies."""
    return min(11.0, -math.log10(max(abs(found / certified - 1), 1e-11)))


def main() -> None:
    """Fit from several starts, and print the best."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--degrees", type=int, nargs=2, default=(3, 3), metavar=("P", "Q"))
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(options.seed)
    x, y, certified, certified_sum = read(options.file)
    unit = y.std()
    heads = [fit(x, y / unit, options.degrees) for _ in range(options.starts)]
    best = min(heads, key=lambda head: residual_sum(head, x, y / unit))
    total = residual_sum(best, x, y / unit) * unit.item() ** 2
    rows = [in_powers_of_x(p.detach(), best.domain) for p in (best.numerator, best.denominator)]
    numerator, denominator = unit * rows[0] / rows[1][0], rows[1] / rows[1][0]
    parameters = [*numerator.tolist(), *denominator[1:].tolist()]
    for i, parameter in enumerate(parameters, 1):
        print(f"b{i} = {parameter:.10e}")
    print(f"residual sum of squares {total:.10e}, of {options.starts} starts the least")
    with torch.no_grad():
        _, Q = best(torch.linspace(x.min(), x.max(), 10_001))
    if Q.min() < 0 < Q.max():
        print("the fit has a pole between the data; lower degrees may have none")
    if len(certified) == len(parameters):
        worst = min(map(lre, parameters, certified))
        print(f"LRE {lre(total, certified_sum):.1f} of the sum, {worst:.1f} of the worst parameter")


if __name__ == "__main__":
    main()
