"""Digits with their classes."""

from __future__ import annotations

from components.config import NetworkConfig
from tests.components.tasks.task_builders import CLASSES, Given, digits, next_class, one_hot


def given() -> Given:
    images, labels = digits()
    config = NetworkConfig(name="residual", arguments={"width": 8})
    return Given(images, labels, config, CLASSES, one_hot, next_class, {})
