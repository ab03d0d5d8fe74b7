"""Which bytes are the data? The one package of DVC.

Runs the stages of `dvc.yaml`, moves what they made to and from the remote, says a data set's digest and what differs
between two of its versions, and puts a version back. One lock of our own surrounds every call: DVC itself refuses the
second of two callers, and after a kill may wait for ever.
"""

from components.data.versions.difference import Difference, Move, Tally, diff
from components.data.versions.repository import digest
from components.data.versions.restoring import restore
from components.data.versions.revisions import WORKSPACE, Revision, committed, resolve
from components.data.versions.running import ask_remote, pending, present, pull, push, reproduce

__all__ = [
    "WORKSPACE",
    "Difference",
    "Move",
    "Revision",
    "Tally",
    "ask_remote",
    "committed",
    "diff",
    "digest",
    "pending",
    "present",
    "pull",
    "push",
    "reproduce",
    "resolve",
    "restore",
]
