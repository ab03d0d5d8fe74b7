"""Whether what a target answered is a finding."""

from __future__ import annotations

import traceback
from pathlib import Path

from tests.fuzzing.targets import OURS, Target

ROOT = Path(__file__).parents[2]
# Behind a sentence of ours these are the program's, if they were raised in its own lines.
PROGRAMMING = (AttributeError, TypeError, KeyError, IndexError, AssertionError, UnboundLocalError)


def judge(target: Target, content: bytes, folder: Path) -> None:
    """Run a target; raises what is a finding."""
    try:
        target.run(content, folder)
    except OURS as error:
        if fault := programming(error):
            raise AssertionError(f"a fault of ours behind {str(error)[:200]!r}") from fault


def programming(error: BaseException) -> BaseException | None:
    """What is behind an error of ours, where it is a fault of the program."""
    cause = error.__cause__
    if not isinstance(cause, PROGRAMMING):
        return None
    last = traceback.extract_tb(cause.__traceback__)[-1].filename
    return cause if Path(last).is_relative_to(ROOT / "components") else None
