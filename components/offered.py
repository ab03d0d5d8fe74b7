"""A command that a message offers, so that it works when its words are pasted into a shell from the project's folder.

It is quoted, and carries what it needs and the shell may lack: the environment's folder on the PATH where that is not
activated, the address of MLflow's store. What a command does is nobody's business here.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from components import texts
from components.release import DISTRIBUTION, cloned


def command(*words: str) -> str:
    """The words as one line for a shell. One that stands for what only a person knows is `…`, and is left as it is."""
    return f"{_path(words[0])}{' '.join(word if word == '…' else texts.shell(word) for word in words)}"


def mlflow(uri: str, *words: str) -> str:
    """`mlflow …` on the store at `uri`; the address is named where MLFLOW_TRACKING_URI is not set to it already.

    An address is set by the user where it has a password, and is never repeated then.
    """
    store = "" if os.environ.get("MLFLOW_TRACKING_URI") else f"MLFLOW_TRACKING_URI={texts.shell(uri)} "
    return f"{store}{command('mlflow', *words)}"


def _path(name: str) -> str:
    """What makes the shell find this environment's command, and that command find the others beside it."""
    here = Path(sys.executable).parent
    found = shutil.which(name)
    if not (here / name).is_file() or (found is not None and Path(found).parent == here):
        return ""
    return f'PATH={texts.shell(str(here))}:"$PATH" '


def installing(*extras: str) -> str:
    """What installs extras, in a clone beside the locked libraries, else as this was installed; all else without."""
    if not extras:
        return command("make", "setup") if cloned() else command("python", "-m", "pip", "install", DISTRIBUTION)
    named = f"[{','.join(extras)}]"
    what = ("-c", "requirements.lock", "-e", f".{named}") if cloned() else (f"{DISTRIBUTION}{named}",)
    return command("python", "-m", "pip", "install", *what)
