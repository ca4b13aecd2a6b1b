"""VAL, LOG, CUR, AMP and RES, held against the trainer."""

from __future__ import annotations

import copy
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from spec import epochs as exactly
from zeroproof.layers import ProjectiveMLP
from zeroproof.losses import SCMTrainingLoss
from zeroproof.training.curriculum import LinearRamp
from zeroproof.training.trainer import SCMTrainer, TrainingConfig

Batch = tuple[Tensor, Tensor]
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=5)
taus = st.tuples(st.floats(0.0, 0.5), st.floats(0.5, 1.0))
seeds = st.integers(0, 2**32)


def batches(sizes: list[int]) -> list[Batch]:
    """Batches of the given sizes, with finite targets and singular ones."""
    data = [(torch.randn(n, 2), torch.randn(n)) for n in sizes]
    return [(x, torch.where(y > 1, torch.inf, y)) for x, y in data]


def model(seed: int = 0) -> nn.Module:
    """A model with dropout and running statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.BatchNorm1d(2, track_running_stats=True),
            nn.Dropout(0.2),
            ProjectiveMLP(2, hidden=(4,)),
        )


def trainer(network: nn.Module, loader: Any, loss: Any = None, **options: Any) -> SCMTrainer:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    config = TrainingConfig(**options)
    return SCMTrainer(network, optimizer, loss or SCMTrainingLoss(), loader, config=config)


class Recorded:
    """The composite loss, keeping what it was given and what it gave."""

    def __init__(self) -> None:
        self.taus: list[float] = []
        self.results: list[tuple[Tensor, dict[str, Tensor]]] = []
        self.given: list[Tensor] = []

    def __call__(
        self, outputs: Batch, lifted: Batch, *, tau: float, targets: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        self.taus.append(tau)
        self.given += [*outputs, *lifted]
        self.results.append(SCMTrainingLoss()(outputs, lifted, tau=tau, targets=targets))
        return self.results[-1]


def tensors(run: SCMTrainer) -> list[Tensor]:
    """Everything that an update changes."""
    state = run.state_dict()
    slots = state["optimizer"]["state"].values()
    return [*state["model"].values(), *(v for slot in slots for v in slot.values())]


def assert_bitwise(ours: list[Tensor], theirs: list[Tensor], what: str) -> None:
    assert len(ours) == len(theirs), what
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b), f"{what}: {a} is not {b}"


@given(sizes, taus)
def test_VAL_1_and_TAU_8_sample_weighted_means_and_true_minima(
    sizes: list[int], tau: tuple[float, float]
) -> None:
    """Means are weighted by samples, a minimum is a true one, τ is the midpoint."""
    loss = Recorded()
    network = ProjectiveMLP(2, hidden=(4,)).double()
    val = [(x.double(), y.double()) for x, y in batches(sizes)]
    options = {"tau_train_min": tau[0], "tau_train_max": tau[1]}
    record = trainer(network, val, loss, val_loader=val, **options).validate()
    means = {"val_loss": [Fraction(total.item()) for total, _ in loss.results]}
    for name in loss.results[0][1]:
        means[f"val_loss_{name}"] = [Fraction(terms[name].item()) for _, terms in loss.results]
    for name, values in means.items():
        wanted = float(exactly.validation_mean(sizes, values))
        assert abs(record[name] - wanted) <= 1e-12, f"{name}: {record[name]} is not {wanted}"
    denominators = [Fraction(Q.abs().min().item()) for Q in loss.given[1::4]]
    minimum = exactly.validation_minimum(denominators)
    assert Fraction(record["val_denom_abs_min"]) == minimum, f"not {float(minimum)}"
    middle = exactly.validation_threshold(Fraction(tau[0]), Fraction(tau[1]))
    off = [abs(Fraction(t) - middle) for t in loss.taus]
    assert max(off) <= Fraction(1, 2**52), f"{loss.taus} are not {float(middle)}"


@given(sizes, sizes, seeds)
@settings(max_examples=25)
def test_VAL_2_validation_leaves_no_trace(
    sizes: list[int], val_sizes: list[int], seed: int
) -> None:
    """Training with validation is bitwise training without, random state included."""
    data, val = batches([n + 1 for n in sizes]), batches(val_sizes)
    runs = []
    for options in ({}, {"val_loader": val}):
        torch.manual_seed(seed)
        run = trainer(model(), data, max_epochs=2, **options)
        run.fit()
        runs.append([*tensors(run), torch.get_rng_state()])
    assert_bitwise(runs[0], runs[1], "with validation")


@given(st.integers(1, 6), st.integers(1, 3), st.booleans(), st.integers(1, 4))
@settings(max_examples=25)
def test_LOG_1_every_record_in_order(
    micro_batches: int, epochs: int, validated: bool, accumulation: int
) -> None:
    """Every micro-batch gives a record of plain floats, before its epoch's validation."""
    got: list[dict[str, float]] = []
    data = batches([3] * micro_batches)
    run = trainer(
        model(),
        data,
        max_epochs=epochs,
        val_loader=data if validated else None,
        gradient_accumulation_steps=accumulation,
        log_hook=got.append,
    )
    run.fit()
    order = [(int(r["epoch"]), int(r["micro_step"]) if "loss" in r else None) for r in got]
    assert order == exactly.records(micro_batches, epochs, validated)
    assert all(type(value) is float for record in got for value in record.values())


dyadic = st.integers(-(2**20), 2**20).map(lambda n: n / 2**10)


@given(dyadic, dyadic, st.integers(1, 50), st.integers(0, 20), st.integers(0, 100))
def test_CUR_1_linear_ramp(start: float, end: float, epochs: int, first: int, epoch: int) -> None:
    """A ramp is its ends exactly, and within rounding linear between them."""
    value = LinearRamp(start, end, epochs, first)(epoch)
    exact = exactly.ramp(Fraction(start), Fraction(end), epochs, first, epoch)
    size = max(abs(Fraction(start)), abs(Fraction(end)))
    assert abs(Fraction(value) - exact) <= size / 2**50, f"{value} is not {float(exact)}"
    if exact in (start, end) and not first < epoch < first + epochs:
        assert value == exact, "the ends are exact"


@given(sizes, st.sampled_from(["fp16", "bf16"]))
@settings(max_examples=20)
def test_AMP_1_2_3_precision(sizes: list[int], dtype: str) -> None:
    """The loss sees float32; float16 alone scales; with AMP off the option changes nothing."""
    data, network = batches([n + 1 for n in sizes]), model()
    twin = copy.deepcopy(network)
    state = torch.get_rng_state()
    plain = trainer(network, data, max_epochs=1)
    plain.fit()
    torch.set_rng_state(state)
    off = trainer(twin, data, max_epochs=1, mixed_precision=False, amp_dtype=dtype)
    off.fit()
    assert_bitwise(tensors(plain), tensors(off), "AMP off")
    loss = Recorded()
    on = trainer(model(), data, loss, max_epochs=1, mixed_precision=True, amp_dtype=dtype)
    on.fit()
    assert {t.dtype for t in loss.given} == {torch.float32}
    assert on.window.scaler.is_enabled() == (dtype == "fp16")


@given(st.integers(1, 3), st.integers(1, 3), seeds)
@settings(max_examples=15)
def test_RES_1_resume_at_an_epochs_end(done: int, more: int, seed: int) -> None:
    """Stop after an epoch, save, load into a new trainer, go on: bitwise the whole run."""
    x, y = batches([13])[0]

    def start(max_epochs: int, seed: int) -> SCMTrainer:
        torch.manual_seed(seed)
        loader: DataLoader[Any] = DataLoader(TensorDataset(x, y), batch_size=5, shuffle=True)
        options = {"tau_train_min": 0.0, "tau_train_max": 0.5, "seed": 3}
        return trainer(model(seed), loader, max_epochs=max_epochs, **options)

    whole = start(done + more, seed)
    records = whole.fit()
    half = start(done, seed)
    half.fit()
    with tempfile.TemporaryDirectory() as folder:
        half.save_checkpoint(Path(folder) / "run.pt")
        rest = start(done + more, seed + 1)
        rest.load_checkpoint(Path(folder) / "run.pt")
    later = rest.fit()
    assert repr(later) == repr(records[-len(later) :]), "the records go on as they would have"
    assert len(later) == 3 * more
    assert_bitwise(tensors(rest), tensors(whole), "resumed")
    assert rest.last_thresholds == whole.last_thresholds
