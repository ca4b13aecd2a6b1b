"""Layers with poles: learnable rationals, projective heads and a ready model."""

from zeroproof.layers.projective import FreeHead, GatedHead, PoleHead, ProjectiveMLP
from zeroproof.layers.rational import ProjectiveRationalHead, SCMRationalLayer

__all__ = [
    "FreeHead",
    "GatedHead",
    "PoleHead",
    "ProjectiveMLP",
    "ProjectiveRationalHead",
    "SCMRationalLayer",
]
