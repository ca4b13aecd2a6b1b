"""An estimator for scikit-learn; needs the extra ``apps``."""

try:
    import sklearn  # noqa: F401
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "zeroproof.sklearn needs scikit-learn ≥ 1.6; pip install 'zeroproof-scm[apps]'"
    ) from error

from zeroproof.sklearn.regressor import SCMRegressor

__all__ = ["SCMRegressor"]
