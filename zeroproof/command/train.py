"""``zeroproof train`` and ``zeroproof predict``: from a table to a folder, and from it to a table."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

import zeroproof
from zeroproof.command.options import Options
from zeroproof.command.report import boosting, guess, write_report, write_scores
from zeroproof.command.run import Predictions, Run
from zeroproof.command.table import (
    Measured,
    Table,
    UserError,
    choose_columns,
    encoder,
    features,
    read_table,
    targets,
)
from zeroproof.sklearn import SCMRegressor
from zeroproof.sklearn.fitting import Array, finite_part
from zeroproof.utils.logging import JsonlLogger, Terminal

SHIPPED_TARGET = "log10_ic50_uM"
FOLDS = 5  # of which one is held out
LEAST = 10  # rows
