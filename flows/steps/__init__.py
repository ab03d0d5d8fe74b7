"""The steps of the pipeline, in its order: what each is given, which package does the work, what it hands on.

Thin by intent: files are placed, figures are named for people, and everything else is the components'. Rooms are
imported inside the steps' bodies, so a run that finds everything done imports no engine that it does not need.
"""

from flows.steps.compression import quantize
from flows.steps.dataset import augmentation, data, drift, noted, unlabelled, validation
from flows.steps.distillation import distil
from flows.steps.judgement import Assessment, evaluate, promote, register
from flows.steps.pruning import prune
from flows.steps.training import ensemble, train

__all__ = [
    "Assessment",
    "augmentation",
    "data",
    "distil",
    "drift",
    "ensemble",
    "evaluate",
    "noted",
    "promote",
    "prune",
    "quantize",
    "register",
    "train",
    "unlabelled",
    "validation",
]
