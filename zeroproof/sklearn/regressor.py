"""A regressor for tables whose targets may be infinite, or intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from zeroproof.inference import unit_denominator
from zeroproof.inference.certainty import combine_tuples, median_and_scale
from zeroproof.scm.outputs import own_denominators
from zeroproof.sklearn.calibration import central_level, drawn, levels, threshold
from zeroproof.sklearn.ensemble import ProjectiveEnsemble, WeightedLikelihood
from zeroproof.sklearn.fitting import (
    CHUNK,
    Array,
    by_row,
    check_params,
    finite_part,
    fit_network,
    held_out,
    robust_scale,
    target_ends,
    target_scale,
)
from zeroproof.training import Interval, lift_targets
from zeroproof.training.batches import map_tensors
from zeroproof.training.targets import Targets, check_interval, ends
from zeroproof.utils.checks import check_number

MOST_VALIDATED = 20_000  # rows
LARGEST = np.finfo(np.float64).max


class SCMRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Regression on targets that are numbers, points at infinity or intervals.

    A few small networks are trained by the projective likelihood. Each leaves out rows of its own;
    how well those are predicted decides when training stops, which epoch counts, and how certain
    predictions are. They are that of the mean of all networks.

    Args:
        hidden: widths of the hidden layers.
        n_estimators: number of networks.
        max_epochs: passes over the rows; None makes about 4000 updates, in 20 to 400 epochs.
        batch_size: rows of an update; None takes a fifteenth, as a power of two from 32 to 512.
        learning_rate: of Adam, at the start; it falls along half a cosine.
        weight_decay: shrinks gates and first weights by this share an update, at the start; None
            takes 0.012 inputs / max(rows, 240), between 1e-4 and 1e-2.
        validation_fraction: share of the rows (or groups) that each network leaves out.
        n_iter_no_change: epochs without a better one after which training stops.
        shared_denominator: whether several outputs have their poles together; intervals of several
            outputs need False.
        limits: what an instrument can report, as (lowest, highest); predictions beyond are ⊥.
        trainer_options: more of :class:`~zeroproof.training.config.TrainingConfig`, such as
            ``{"progress": True, "device": "cuda"}``. With a ``checkpoint_dir`` training is saved
            there every few seconds and on Ctrl-C, and ``fit`` with the same rows, options and
            ``random_state``, but for ``max_epochs``, continues from there.
        random_state: seed of weights, left out rows and batches.

    Attributes:
        best_epoch_: the epoch whose weights are kept, from 1.
        history_: ``loss`` and ``val_loss`` of each epoch, the mean negative log likelihood.
        tau_: threshold on the unit denominator of each output; 0 without points at infinity, or
            where it would cost many numbers that points at infinity look like.

    Example:
        >>> x = np.linspace(-1, 1, 200)[:, None]
        >>> y = np.where(abs(x) < 0.1, np.inf, 1 / x)[:, 0]
        >>> model = SCMRegressor(n_estimators=2, max_epochs=40, random_state=0).fit(x, y)
        >>> model.predict_bottom([[0.0], [0.5]])
        array([ True, False])
    """

    def __init__(
        self,
        hidden: Sequence[int] = (64, 64),
        *,
        n_estimators: int = 8,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float | None = None,
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 40,
        shared_denominator: bool = True,
        limits: tuple[float, float] | None = None,
        trainer_options: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.hidden, self.n_estimators, self.max_epochs = hidden, n_estimators, max_epochs
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self.weight_decay, self.validation_fraction = weight_decay, validation_fraction
        self.n_iter_no_change, self.shared_denominator = n_iter_no_change, shared_denominator
        self.limits, self.trainer_options = limits, trainer_options
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Say that several outputs are allowed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether a fit came to its end: the thresholds are chosen last."""
        return hasattr(self, "tau_")

    def fit(
        self, X: Any, y: Any, y_upper: Any = None, sample_weight: Any = None, groups: Any = None
    ) -> SCMRegressor:
        """Train on a table; a fit that fails or is interrupted leaves no model.

        Args:
            X: finite numbers, (rows, columns).
            y: targets, (rows,) or (rows, outputs); ±∞ and NaN are points at infinity.
            y_upper: None, or upper ends of intervals, of which ``y`` then holds the lower ones;
                ±∞ for open ends, equal ends for exact targets, NaN in both for a pole.
            sample_weight: how much each row counts, (rows,), ≥ 0; rows of weight 0 are not seen.
            groups: labels, (rows,); rows with the same label are left out together.

        Raises:
            ValueError: no finite target, ends that cross, intervals of several outputs with one
                denominator, or what scikit-learn's own checks refuse.
        """
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)  # so that a fit that fails leaves no mixture of two models
        check_params(self.get_params())
        X = validate_data(self, X, dtype=np.float64)
        ends = target_ends(X, y, y_upper, shared=self.shared_denominator)
        self._flat = ends[0].shape[1] == 1
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        check_consistent_length(X, groups)
        seen = weight > 0
        X, weight, ends = X[seen], weight[seen], [end[seen] for end in ends]
        groups = None if groups is None else np.asarray(groups)[seen]
        self._x_centre, self._x_unit = robust_scale(X, weight)
        self._centre, self._unit = target_scale(ends, weight)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        held = held_out(len(X), self.n_estimators, self.validation_fraction, groups, seed)
        # One more dimension, that of the members.
        scaled = [torch.tensor((end - self._centre) / self._unit).unsqueeze(1) for end in ends]
        bounded = (ends[0] < ends[1]).any()
        self._train(X, Interval(*scaled) if bounded else scaled[0], weight, held, seed)
        return self

    def _inputs(self, X: Array) -> Tensor:
        """Return scaled inputs, of which large ones grow like a logarithm."""
        with np.errstate(over="ignore"):
            z = torch.tensor((X - self._x_centre) / self._x_unit)
        size = z.abs().clamp(max=LARGEST)
        return torch.where(size > 10.0, z.sign() * (10.0 + torch.log1p(size - 10.0)), z)

    def _train(
        self, X: Array, targets: Targets, weight: Array, held: NDArray[np.bool_], seed: int
    ) -> None:
        train, validate = (torch.tensor(weight[:, None] * part) for part in (~held, held))
        order = np.random.default_rng(seed).permutation(np.flatnonzero(held.any(axis=1)))
        rows, outputs = torch.tensor(order[:MOST_VALIDATED]), len(self._centre)
        shared = self.shared_denominator and outputs > 1
        options = {"hidden": self.hidden, "shared_denominator": shared}
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # and not those of devices
            network = ProjectiveEnsemble(self.n_estimators, X.shape[1], outputs, **options)
            seen, params = (self._inputs(X).float(), train, validate, targets), self.get_params()
            self.history_ = fit_network(network, seen, rows, params, seed)
        losses = self.history_["val_loss"]
        self.best_epoch_ = 1 + losses.index(min(losses))
        self.network_ = network.double().cpu().eval()  # so that batches agree with single rows
        targets = map_tensors(targets, lambda part: part[:, 0])
        left_out = map_tensors(targets, lambda part: part[rows])
        chosen = self._calibrate(X[rows], left_out, validate[rows])
        self._choose_thresholds(X, targets, rows, *chosen)

    def _calibrate(self, X: Array, targets: Targets, held: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Choose certainty and levels by rows, from the networks that left them out.

        Return these rows, repeated by weight, and their tuples.
        """
        self._certainty = 1.0
        (P, Q), loss = self._tuples(X, held), WeightedLikelihood()
        lifted, rows = lift_targets(targets), (self._inputs(X), held.amax(1))
        factors = torch.linspace(-1.5, 1.5, 61).exp().tolist()
        losses = [loss((by * P, by * Q), lifted, inputs=rows).item() for by in factors]
        self._certainty = factors[int(np.argmin(losses))]
        often = torch.tensor(drawn(rows[1].numpy()))
        lower, upper = (end[often] for end in ends(targets))
        cauchy = median_and_scale(self._certainty * P[often], self._certainty * Q[often])
        self._levels, self._spread = levels(lower, upper, *cauchy)
        return often, P, Q

    def _choose_thresholds(
        self, X: Array, targets: Targets, rows: Tensor, often: Tensor, P: Tensor, Q: Tensor
    ) -> None:
        """Choose thresholds by held-out rows, which have tuples; without a pole, by all poles."""
        lower, upper = ends(targets)
        middle = torch.tensor(finite_part(lower.numpy(), upper.numpy()))
        exact = ~(lower < upper) | (lower.isfinite() & upper.isfinite())
        tau = np.zeros(len(self._centre))
        for output in torch.nonzero((exact & ~lower.isfinite()).any(0)).flatten().tolist():
            target, known = middle[:, output], often[exact[rows[often], output]]
            pole = exact[:, output] & ~target.isfinite()
            found = [(P[known], Q[known], target[rows][known])]
            if not pole[rows[often]].any():  # no network left one out, so all are asked
                found.append((*self._tuples(X[pole.numpy()]), target[pole]))
            p, q, true = (torch.cat(part) for part in zip(*found, strict=True))
            tau[output] = threshold(p[:, output], q[:, output if q.shape[1] > 1 else 0], true)
        self.tau_ = tau

    def _tuples(self, X: Array, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return combined tuples of scaled targets, (rows, outputs)."""
        weights = torch.ones(len(X), len(self.network_.gates)) if weights is None else weights
        parts = zip(torch.split(self._inputs(X), CHUNK), torch.split(weights, CHUNK), strict=True)
        with torch.no_grad():
            outputs = [(*self.network_(rows), rows[1]) for rows in parts]
        found = [combine_tuples(P, Q, share) for P, Q, share in outputs]
        P, Q = (self._certainty * torch.cat(part) for part in zip(*found, strict=True))
        return P, Q

    def _predicted(self, X: Any) -> tuple[Tensor, Tensor]:
        check_is_fitted(self)
        return self._tuples(validate_data(self, X, dtype=np.float64, reset=False))

    def _in_units(self, scaled: Tensor) -> Array:
        return self._as_given(scaled.numpy() * self._unit + self._centre)

    def _as_given(self, found: NDArray[Any]) -> NDArray[Any]:
        return found[:, 0] if self._flat else found

    def predict(self, X: Any) -> Array:
        """Return the median of what each row may be; NaN where it is ⊥, ±∞ beyond ``limits``."""
        P, Q = self._predicted(X)
        size = unit_denominator(P, own_denominators(P, Q)).nan_to_num()
        at_pole = size < torch.tensor(self.tau_)
        values = self._in_units(median_and_scale(P, Q)[0].masked_fill(at_pole, torch.nan))
        low, high = self.limits or (-np.inf, np.inf)
        return np.where(values > high, np.inf, np.where(values < low, -np.inf, values))

    def predict_bottom(self, X: Any) -> NDArray[np.bool_]:
        """Return where a prediction is no number: at a pole, or beyond ``limits``."""
        return ~np.isfinite(self.predict(X))

    def predict_interval(self, X: Any, level: float = 0.9) -> tuple[Array, Array]:
        """Return the ends of the central interval that holds a share ``level`` of such rows.

        Its probability is the one at which it held that share of the rows that training left out
        and whose target is a number: of what a row may be, the likelihood fits the middle best, and
        makes the tails too heavy. Raises ValueError for a level outside [0, 1).
        """
        level = check_number("level", level, "[0, 1)")
        middle, scale = median_and_scale(*self._predicted(X))
        own = [np.quantile(seen, level) for seen in self._levels]
        half = torch.tensor(np.tan(np.pi * np.array(own) / 2)) * scale
        return self._in_units(middle - half), self._in_units(middle + half)

    def predict_probability(self, X: Any, lower: Any, upper: Any) -> Array:
        """Return the probability that each row lies between two numbers, which may be infinite.

        Each end is a number, an array (rows,), or one that broadcasts to (rows, outputs), such as
        ``[[0, 5]]`` with one for each of two outputs. As intervals do, it goes by rows that
        training left out, bounds among them. Raises ValueError for NaN, ends that cross, or another
        shape: a single dimension is always that of the rows.
        """
        middle, scale = median_and_scale(*self._predicted(X))
        scaled, below = list[Tensor](), list[Array]()
        for name, end in (("lower", lower), ("upper", upper)):
            end = by_row(name, end, middle.shape)
            at = torch.tensor((end - self._centre) / self._unit)
            parts = zip(central_level(at, middle, scale).T, self._spread, strict=True)
            own = [np.interp(part, seen, np.linspace(0, 1, len(seen))) for part, seen in parts]
            below.append((1 + (at - middle).sign().numpy() * np.array(own).T) / 2)
            scaled.append(at)
        check_interval(Interval(*scaled))
        return self._as_given(below[1] - below[0])

    def score(self, X: Any, y: Any, sample_weight: Any = None, y_upper: Any = None) -> float:
        """Return R²: the share of the squared error of the mean that predictions save.

        With ``y_upper`` the error is that to the interval, and the mean that of finite ends. Points
        at infinity do not count, and ⊥ counts as the median of the training. NaN without a number.
        """
        lower, upper = target_ends(X, y, y_upper, shared=self.shared_denominator)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        found = self.predict(X).reshape(lower.shape)
        found = np.where(np.isnan(found), self._centre, found)
        found = np.clip(found, *(self.limits or (-np.inf, np.inf)))
        missed, known, scores = found - np.clip(found, lower, upper), finite_part(lower, upper), []
        for output, rows in enumerate(np.isfinite(known).T):
            true, error = known[rows, output], missed[rows, output]
            own = weight[rows]
            scores.append(r2_score(true, true + error, sample_weight=own) if len(own) else np.nan)
        return float(np.mean(scores))
