"""Parts of a trainer, batches and terms of a loss that are not what a trainer takes."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from tests.helpers import finite_batches, fit_loss, make_trainer, pole_batches, small_model
from zeroproof.inference import SCMInferenceWrapper, strict_inference
from zeroproof.losses import LossConfig, SCMTrainingLoss, chordal_loss
from zeroproof.training import SCMTrainer, TrainingConfig
from zeroproof.training.loss_adapter import LossAdapter
from zeroproof.utils.logging import JsonlLogger

pytestmark = pytest.mark.usefixtures("unchecked")

DATA = pole_batches([4])
X, Y = DATA[0]


def parts(**changed: Any) -> dict[str, Any]:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    own = {"model": model, "optimizer": optimizer, "loss_fn": fit_loss, "train_loader": DATA}
    return {**own, **changed}


WRONG_PARTS: list[tuple[dict[str, Any], str]] = [
    ({"model": lambda x: (x, x)}, "^model must be an instance of torch.nn.Module, not a function"),
    ({"model": nn.Linear}, "^model must be .*, got the class Linear"),
    (
        {"optimizer": torch.optim.Adam},
        "^optimizer must be an instance of an optimizer, .* class Adam",
    ),
    ({"optimizer": None}, "^optimizer must be .*, got None"),
    ({"optimizer": [nn.Parameter(X)]}, "^optimizer must be .*, got list of Parameter"),
    ({"optimizer": fit_loss, "loss_fn": None}, "^optimizer must be .*, got <function"),
    ({"loss_fn": SCMTrainingLoss}, "^loss_fn must be .* an instance of a loss, got the class SCM"),
    ({"loss_fn": LossConfig()}, "^loss_fn must be a function, .* type LossConfig"),
    ({"loss_fn": nn.MSELoss()}, r"torch's MSELoss\(\) does not; write lambda outputs, lifted, tar"),
    ({"loss_fn": nn.functional.l1_loss}, "does not; write lambda"),
    ({"loss_fn": chordal_loss}, r"\(P, Q, Y_n, Y_d, mask\): missing .* 'Y_n'; unpack them, as"),
    ({"loss_fn": lambda outputs: outputs[0].mean()}, r"takes \(outputs\): too many .*; unpack"),
    ({"train_loader": None}, r"^train_loader must be a loader of pairs \(inputs, targets\)"),
    ({"train_loader": TensorDataset(X, Y)}, "^train_loader must be .* type TensorDataset"),
    ({"train_loader": DataLoader}, "^train_loader must be .* the class DataLoader"),
    ({"train_loader": X.numpy()}, "^train_loader must be .*, got ndarray"),
    ({"scheduler": StepLR}, r"^scheduler must be an instance of a scheduler, .* the class StepLR"),
    ({"scheduler": "cosine"}, "^scheduler must be .*, got 'cosine', which has no step"),
    ({"scheduler": torch.optim.SGD([nn.Parameter(X)], 0.1)}, "^scheduler must be .* type SGD"),
    ({"config": {"max_epochs": 1}}, r"^config must be an instance TrainingConfig\(...\)"),
    ({"config": TrainingConfig}, "^config must be .* the class TrainingConfig"),
]


@pytest.mark.parametrize(("changed", "message"), WRONG_PARTS)
def test_a_part_of_the_wrong_type_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        SCMTrainer(**parts(**changed))


def test_a_decoding_model_is_not_validated() -> None:
    """It was an error only after the first epoch, that named no remedy."""
    model = SCMInferenceWrapper(small_model())
    with pytest.raises(TypeError, match=r"SCMInferenceWrapper with a val_loader.*; train the mod"):
        make_trainer(model, DATA, val_loader=DATA)
    make_trainer(model, DATA).fit()
    assert not model.eval()(X).bottom.all()


class Returns(nn.Module):
    """What a function makes of the tuples of a small model."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.inner, self.function = small_model(), function

    def forward(self, x: Tensor) -> Any:
        return self.function(*self.inner(x))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda P, Q: (P, Q, P), "returned tuple of Tensor, Tensor, Tensor; expected .* Keep what"),
        (lambda P, Q: {"P": P}, "returned an object of type dict; expected|returned {'P'"),
        (lambda P, Q: (P.detach().numpy(),) * 2, "returned tuple of ndarray, ndarray; expected"),
        (lambda P, Q: strict_inference(P, Q), "returned Decoded of .*; of an SCMInferenceWrapper"),
        (lambda P, Q: (P + 0j, Q + 0j), "^P must be a floating-point tensor, got .*complex64"),
        (lambda P, Q: P + 0j, "^outputs must be a floating-point tensor, got .*complex64"),
        (lambda P, Q: (P, (Q > 0).int()), "^Q must be a floating-point tensor, got .*int32"),
        (lambda P, Q: (Q > 0, P), "^P must be a floating-point tensor, got .*bool"),
    ],
)
def test_outputs_of_no_form_are_named_before_the_loss(
    function: Callable[..., Any], message: str
) -> None:
    def never(outputs: Any, lifted: Any) -> Tensor:
        raise AssertionError(outputs)

    with pytest.raises(TypeError, match=message):
        make_trainer(Returns(function), DATA, never).fit()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((X.numpy(), Y), "^inputs hold ndarray of .*; torch.as_tensor makes a tensor"),
        (({"x": [X.numpy()]}, Y), "^inputs hold ndarray of"),
        ((X.double(), Y), r"^x is of torch.float64, the layer of torch.float32; convert"),
        ((X.long(), Y), "^x must be a floating-point tensor, got .*int64"),
        ((Y, X), r"^x must have 2 features along its last dimension, got the shape \(4,\)"),
        ((X, Y[:, None]), r"P \(4,\), Q \(4,\), Y_n \(4, 1\), Y_d \(4, 1\) must all be equal"),
    ],
)
def test_batches_that_do_not_fit_are_named(batch: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make_trainer(small_model(), [batch]).fit()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_curriculum": lambda epoch: {"fit": "1"}}, r"weights\['fit'\] must be a number in"),
        ({"loss_curriculum": lambda epoch: [1.0]}, "^loss_curriculum's weights must be a dict"),
        ({"loss_curriculum": lambda epoch: {"fit": math.nan}}, r"\['fit'\] must be in .*, got nan"),
        ({"log_hook": JsonlLogger}, "^log_hook must be .*, got the class JsonlLogger"),
    ],
)
def test_what_an_option_returns_is_checked_too(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make_trainer(small_model(), DATA, SCMTrainingLoss(), **options).fit()


def test_a_run_with_numbers_of_numpy_is_saved_and_continued(tmp_path: Any) -> None:
    """A threshold of NumPy's made the checkpoint's thresholds NumPy's, which no reader takes."""
    options = {"tau_train_max": np.float32(0.5), "seed": np.int64(3), "max_epochs": np.int32(1)}
    model = small_model()
    first = make_trainer(model, DATA, **options)
    first.fit()
    first.save_checkpoint(tmp_path / "run.pt")
    second = make_trainer(model, DATA, **options)
    second.load_checkpoint(tmp_path / "run.pt")
    assert second.last_thresholds == first.last_thresholds


def returning(terms: Any) -> Callable[..., Any]:
    return lambda outputs, lifted: (fit_loss(outputs, lifted), {"term": terms})


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("term", "shown"),
    [
        (torch.ones(3), r"Tensor of torch.float32 and shape \(3,\)"),
        (torch.ones(0), r"Tensor of torch.float32 and shape \(0,\)"),
        (None, "None"),
        ("0.5", "'0.5'"),
        ({"part": 1.0}, "{'part': 1.0}"),
        ([0.5], r"\[0.5\]"),
        (np.ones(2), "ndarray"),
        (1j, "1j"),
        (torch.tensor(1j), "tensor"),
    ],
)
def test_a_term_that_is_no_scalar_is_named(term: Any, shown: str, compiled: bool) -> None:
    with pytest.raises(
        TypeError, match=f"^the term 'term' .* must be a scalar, got {shown}.*; red"
    ):
        make_trainer(small_model(), DATA, returning(term), compile=compiled).fit()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            lambda loss: (loss, {}, 1),
            "a pair of one and a dict of terms, got tuple of Tensor, dict",
        ),
        (lambda loss: (loss,), "a pair of one and a dict of terms, got tuple of Tensor"),
        (lambda loss: (loss, loss), "a pair of one and a dict of terms, got tuple of Tensor, Tens"),
        (lambda loss: (loss, None), "a pair of one and a dict of terms, got tuple of Tensor, None"),
        (lambda loss: {"loss": loss}, "must return a scalar tensor, got {'loss'"),
        (lambda loss: loss + 0j, "^the loss .* must be a scalar, got tensor"),
    ],
)
def test_a_loss_that_is_no_scalar_is_shown(
    result: Callable[[Tensor], Any], message: str, compiled: bool
) -> None:
    def loss_fn(outputs: Any, lifted: Any) -> Any:
        return result(fit_loss(outputs, lifted))

    with pytest.raises(TypeError, match=message):
        make_trainer(small_model(), DATA, loss_fn, compile=compiled).fit()


# In a process of its own: the tests' checks of shapes are no code to compile.
LOGGED = """
import gc, math, weakref
import numpy as np, torch
from tests.helpers import finite_batches, fit_loss, make_trainer, pole_batches, small_model

kept, compile = [], torch.compile
torch.compile = lambda f, options=None, **given: compile(f, backend="eager", **given)
NAMES = "samples coverage one flag large numpy integer array nan infinite graph".split()
VALUES = [2.0, 0.25, 0.5, 1.0, 2.0**24 + 1, 0.5, 3.0, 0.5, math.nan, math.inf]


def loss_fn(outputs, lifted):
    loss = fit_loss(outputs, lifted)
    if not torch.compiler.is_compiling():
        kept.append(weakref.ref(outputs[0]))
    return loss, {
        "samples": 2.0,
        "coverage": torch.tensor(0.25),
        "one": torch.tensor([0.5]),
        "flag": torch.tensor(True),
        "large": torch.tensor(2**24 + 1),
        "numpy": np.float64(0.5),
        "integer": np.int64(3),
        "array": np.array(0.5),
        "nan": torch.tensor(math.nan),
        "infinite": math.inf,
        "graph": loss * 2,
    }


for compiled, forwards in ((False, 3), (True, 2)):
    trainer = make_trainer(small_model(), pole_batches([4] * 3), loss_fn, compile=compiled)
    for record in trainer.fit():
        found = [record[f"loss_{name}"] for name in NAMES]
        np.testing.assert_equal(found, [*VALUES, 2 * record["loss"]])
        assert record["samples"] == 4.0
    assert (trainer.global_step, trainer.skipped_steps) == (3, 0)
    gc.collect()
    assert not any(ref() is not None for ref in kept), "a graph is kept"
    assert len(kept) == forwards, "not compiled"
    kept.clear()
"""


def test_scalars_of_every_kind_are_logged_and_skip_nothing() -> None:
    command = [sys.executable, "-W", "ignore", "-c", LOGGED]
    done = subprocess.run(command, timeout=300, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_torch_cannot_trace_is_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unsupported(Exception):
        pass

    def compile(function: Any, **_: Any) -> Any:
        def fail(*_: Any) -> None:
            raise Unsupported("Attempted to call it\n  Explanation: …")

        return fail

    monkeypatch.setattr(torch, "compile", compile)
    trainer = make_trainer(small_model(), finite_batches(2), compile=True)
    with pytest.raises(ValueError, match=r"cannot trace the model .*compile=False \(Attempted to"):
        trainer.fit()


def test_a_compiled_loss_gets_what_the_loss_accepts() -> None:
    class Loss(nn.Module):
        def forward(self, outputs: Any, lifted: Any, *, epoch: int) -> Tensor:
            return fit_loss(outputs, lifted) + epoch

    adapter = LossAdapter(torch.compile(Loss(), backend="eager"), TrainingConfig())
    assert adapter.accepted == {"epoch"}


def test_a_curriculum_of_a_loss_that_takes_no_weights_is_refused() -> None:
    class Around:
        default_curriculum = SCMTrainingLoss(LossConfig(fit="likelihood")).default_curriculum

        def __call__(self, outputs: Any, lifted: Any) -> Any:
            return SCMTrainingLoss()(outputs, lifted)

    with pytest.raises(ValueError, match="default_curriculum is set, but loss_fn"):
        make_trainer(small_model(), finite_batches(1), Around())
