"""The nouns: what is handed from package to package.

`Dataset`, `Model`, `Predictions`, `Evidence` and `Decision` are small and frozen; each can be saved, loaded and
digested. A folder is written under a temporary name and renamed, so a half-written noun is never found.
"""

from components.artifacts.card import Card
from components.artifacts.dataset import SPLITS, Dataset, DatasetCard, Split
from components.artifacts.decision import Decision, Verdict
from components.artifacts.evidence import WITH_TWINS, CellFigure, Evidence, Figure, GroupFigure
from components.artifacts.head import Head
from components.artifacts.inputs import ImageSpec, InputSpec, TextSpec
from components.artifacts.model import Ancestor, Model, ModelCard, Precision, write_model
from components.artifacts.predictions import Predictions
from components.files import ArtifactError

__all__ = [
    "SPLITS",
    "WITH_TWINS",
    "Ancestor",
    "ArtifactError",
    "Card",
    "CellFigure",
    "Dataset",
    "DatasetCard",
    "Decision",
    "Evidence",
    "Figure",
    "GroupFigure",
    "Head",
    "ImageSpec",
    "InputSpec",
    "Model",
    "ModelCard",
    "Precision",
    "Predictions",
    "Split",
    "TextSpec",
    "Verdict",
    "write_model",
]
