"""What the project keeps that it could do without, how much that is, and how it goes.

`survey` only looks: it returns what can go, with what that costs. `removing.remove` does it, so that a kill, a second
cleaning or a run that begins meanwhile breaks nothing. What a version, an alias or the ledger stands on is never in it
(`components.registry.standing`); what a run under way may be using is not, nor is what was used within the last hour.
"""

from flows.cleaning.kinds import KINDS, Kind, Removable, Survey
from flows.cleaning.surveying import survey

__all__ = ["KINDS", "Kind", "Removable", "Survey", "survey"]
