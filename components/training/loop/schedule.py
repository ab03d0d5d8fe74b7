"""The learning rate of each step of a job: the configured one, begun anew in each cycle, or held where it averages."""

from __future__ import annotations

from components.training.jobs.job import Job
from components.training.loop.averaging import first_averaged
from components.training.optimizing.optimization import rate
from components.training.reading.sampling import Epochs


def rate_at(job: Job, epochs: Epochs, epoch: int, step: int) -> float:
    """Of step `step` (counted from 0) of epoch `epoch` (counted from 1).

    A job that leaves snapshots behind runs through its whole schedule once for each of them; with `cosine` and no
    warm-up this is the cyclic cosine of Huang et al. 2017, equation 2.
    """
    first, last = cycle(job, epoch)
    begin, end = epochs.steps_before(first), epochs.steps_before(last + 1)
    place, steps = epochs.steps_before(epoch) + step - begin, end - begin
    if job.average:
        place = min(place, first_averaged(steps))
    return rate(place, steps, job.training)


def cycle(job: Job, epoch: int) -> tuple[int, int]:
    """The first and the last epoch of the cycle that `epoch` is in, all counted from 1."""
    length = job.epochs // max(1, len(job.snapshots))
    number = (epoch - 1) // length
    return number * length + 1, (number + 1) * length
