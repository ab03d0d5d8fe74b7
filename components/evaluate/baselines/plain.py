"""What any input can be shown as."""

from __future__ import annotations

import numpy as np

from components.artifacts import InputSpec
from components.evaluate.baselines.protocol import Features, See, Values


def nothing(values: Values, spec: InputSpec) -> See:
    """No input at all: who learns from that knows how frequent each answer is, and says so of every sample."""

    def see(inputs: Values) -> Features:
        return np.zeros((len(inputs), 1), dtype=np.float32)

    return see
