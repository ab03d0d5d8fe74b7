"""The networks that one training leaves behind on its way, at the end of each cycle of its learning rate.

Snapshot ensembles (Huang et al. 2017): as many members as there are cycles, for the price of one training.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from components.files import writing
from components.training.loop.schedule import cycle
from components.training.loop.state import State
from components.training.loop.surroundings import Surroundings

FOLDER = "snapshots"


def place(folder: Path, name: str) -> Path:
    """The weights of the snapshot of this name, within the folder of its training."""
    return folder / FOLDER / f"{name}.safetensors"


def keep(around: Surroundings, state: State, folder: Path) -> None:
    """Write the weights of a cycle that has just ended. Everybody calls this; the first worker writes.

    Before the epoch is stored: who is killed in between trains it again, and writes the same file.
    """
    job = around.job
    first, last = cycle(job, state.epoch)
    if not job.snapshots or state.epoch != last:
        return
    with state.averaged():
        whole = state.strategy.whole(state.strategy.state())
        if around.workers.first:
            weights = {name: value.detach().cpu().contiguous() for name, value in whole.items()}
            with writing(place(folder, job.snapshots[(last - 1) // (last - first + 1)])) as temporary:
                save_file(weights, temporary)
