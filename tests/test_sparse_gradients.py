"""Gradients of embeddings that are sparse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.subjects.zeroproof.ranks import on_ranks
from tests.helpers import fit_loss, make_trainer, pole_batches, set_scale, small_model
from tests.test_finite import INF, SETTINGS

pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")


class Bag(nn.Module):
    """Embeds features as numbers of rows, in an embedding or a bag, beside dense layers."""

    def __init__(self, kind: str, sparse: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = nn.Embedding if kind == "embedding" else nn.EmbeddingBag
        self.rows, self.inner = layer(6, 2, sparse=sparse), small_model()

    def forward(self, x: Tensor) -> Any:
        rows = self.rows((x * 3 + 3).long().clamp(0, 5))
        return self.inner(rows.sum(1) if rows.dim() == 3 else rows)


SPARSE: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.5),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.1),
}


@pytest.mark.parametrize("kind", ["embedding", "bag"])
@pytest.mark.parametrize("optimizer", SPARSE)
@pytest.mark.parametrize("options", [*SETTINGS, {"max_grad_norm": 0.01}], ids=str)
def test_sparse_gradients_train_as_dense_ones(
    kind: str, optimizer: str, options: dict[str, Any]
) -> None:
    runs = []
    for sparse in (True, False):
        model = Bag(kind, sparse)
        trainer = make_trainer(
            model,
            pole_batches([8] * 4),
            fit_loss,
            optimizer=SPARSE[optimizer](model.parameters()),
            **options,
        )
        set_scale(trainer, 2.0**10)
        trainer.fit()
        assert trainer.skipped_steps == 0
        runs.append(list(model.parameters()))
    for ours, dense in zip(*runs, strict=True):
        torch.testing.assert_close(ours, dense)


def test_sparse_adam_trains_and_a_fault_is_skipped() -> None:
    model = Bag("embedding", True)
    optimizer = torch.optim.SparseAdam(model.rows.parameters(), 0.1)
    before = model.rows.weight.detach().clone()

    def loss(outputs: Any, lifted: Any, *, global_step: int) -> Tensor:
        return fit_loss(outputs, lifted) * (1.0 if global_step else INF)

    trainer = make_trainer(model, pole_batches([8]), loss, optimizer=optimizer)
    trainer.fit()
    assert trainer.skipped_steps == 1
    assert torch.equal(before, model.rows.weight)
    make_trainer(model, pole_batches([8]), fit_loss, optimizer=optimizer).fit()
    assert not torch.equal(before, model.rows.weight)


def test_ranks_share_sparse_gradients() -> None:
    def train(rank: int, ranks: int) -> list[Any]:
        model = Bag("embedding", True)
        batches = [(x[rank::ranks], y[rank::ranks]) for x, y in pole_batches([8] * 3)]
        make_trainer(model, batches, fit_loss, max_grad_norm=0.1).fit()
        return [p.tolist() for p in model.parameters()]

    shared, same_shared = on_ranks(lambda rank: train(rank, 2), 2)
    assert shared == same_shared
    for ours, alone in zip(shared, train(0, 1), strict=True):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(alone))
