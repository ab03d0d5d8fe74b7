"""What a version must hold to before it may be staged: pure functions from figures to verdicts.

Every gate runs and says what it saw, what it demands and why. They fail closed: a figure that is missing, is not a
number, or was measured on other data, another split or another artifact is a failure that says which. What can be
demanded is `components.config.gates`; what follows from the verdicts is decided in `components.registry.decisions`.
"""

from components.registry.gates.case import Case
from components.registry.gates.judging import at_promotion, judge, passed

__all__ = ["Case", "at_promotion", "judge", "passed"]
