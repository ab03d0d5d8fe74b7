"""What this room raises, and the check that every step of it makes first."""

from __future__ import annotations

from components.artifacts import Dataset, Model


class CompressionError(ValueError):
    """A network could not be made into what is served; says which, what was expected and what was found."""


def require_trained_on(model: Model, dataset: Dataset) -> None:
    """Raises CompressionError for a model of other data, it may have been trained on this validation split."""
    if model.card.data != dataset.digest:
        raise CompressionError(
            f"{model.folder}: expected a model trained on {dataset.card.name} {dataset.digest[:12]}, "
            f"found one trained on {model.card.data[:12]}; train it again, or give the data it was trained on"
        )
    if model.card.classes != dataset.card.classes:
        raise CompressionError(
            f"{model.folder}: expected the classes {dataset.card.classes}, found {model.card.classes}"
        )
