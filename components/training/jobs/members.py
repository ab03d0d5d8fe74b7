"""The ensemble's members as jobs: what they have in common, and by what each differs from the others.

Left to others: training them (`cluster`, `loop`) and combining them (`components.compress.ensembling`).
"""

from __future__ import annotations

from dataclasses import replace

from components.config import AugmentConfig, LineConfig, MembersConfig, TrainingConfig
from components.tasks.capabilities import Each, Mistaken
from components.tasks.protocol import Task
from components.training.jobs.job import Job


def member_jobs(
    members: MembersConfig, task: str, training: TrainingConfig, augment: AugmentConfig, *, seed: int
) -> list[Job]:
    """The trainings that give `members.count` models, `member-0` and so on, in order.

    Networks, augmentation and seed change from one training to the next; with folds, the trainings of one learner, each
    without another fold, share network and augmentation.
    """
    names = [f"member-{number}" for number in range(members.count)]
    each = members.snapshots
    if each > 1:
        # Huang et al. 2017: the rate falls to nothing in each cycle, so that each ends in a minimum of its own.
        training = training.model_copy(update={"schedule": "cosine", "warmup": 0.0})
    jobs: list[Job] = []
    for number in range(members.count // each):
        learner = number // (members.folds or 1)
        augments = members.augments or (augment,)
        job = Job(
            name=names[number] if each == 1 else f"run-{number}",
            task=task,
            network=members.networks[learner % len(members.networks)],
            seed=seed + number,
            epochs=members.epochs,
            training=training,
            augment=augments[learner % len(augments)],
            fold=None if members.folds is None else (number % members.folds, members.folds),
            snapshots=tuple(names[number * each : (number + 1) * each]) if each > 1 else (),
            average=members.average == "swa",
        )
        jobs.append(replace(job, boosts=tuple(jobs)) if members.boosting == "samme" else job)
    return jobs


def problems(line: LineConfig, task: Task, *, grouped: bool) -> list[str]:
    """What is wrong with `members` for this task and this training, a line each.

    `grouped`: the data set is split by group and has no folds of its own.
    """
    members, training = line.members, line.training
    key, found = "line.members", []
    if members.folds is not None and grouped:
        found.append(
            f"{key}.folds: expected `split.folds: {members.folds}` of data set {line.dataset}, whose splits keep "
            f"groups together, found none: its folds must do so too"
        )
    if members.boosting != "none" and not (isinstance(task, Each) and isinstance(task, Mistaken)):
        found.append(f"{key}.boosting: expected none, since task {task.spec.name} gets no whole sample right or wrong")
    if members.boosting != "none" and (training.imbalance.loss, training.imbalance.sampling) != ("natural", "natural"):
        found.append(f"{key}.boosting: expected none beside training.imbalance: both decide what a sample counts")
    if (members.boosting != "none" or members.folds is not None) and training.reading == "streamed":
        found.append(f"{key}: expected neither folds nor boosting for data that is streamed (training.reading)")
    if members.average == "swa":
        if training.ema is not None:
            found.append(f"{key}.average: expected none beside training.ema: both are averages of the weights")
        if training.strategy != "data" or training.transfer.freeze != "none" or training.reading == "streamed":
            found.append(
                f"{key}.average: expected none, or training.strategy: data, training.transfer.freeze: none and "
                f"training.reading: mapped: batch normalisation is fitted again on the training split"
            )
    if (members.average == "swa" or members.snapshots > 1) and (
        training.patience is not None or training.imbalance.sampling == "smote"
    ):
        found.append(
            f"{key}: expected neither snapshots nor an average beside training.patience or smote: which epochs count "
            f"is known beforehand"
        )
    return found
