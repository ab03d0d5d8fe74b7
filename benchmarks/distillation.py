"""What a teacher is worth: the same student with labels alone, and with everything that it can copy.

    python -m benchmarks.distillation [--only WAY ...] [--images N] [--epochs N] [--seeds N] [-S KEY=VALUE ...]

The teacher is the ensemble of three members of the recipe's network, trained once for `members.epochs`; students are a
quarter as wide. All take the same augmentation, schedule, epochs and seeds, and are judged by their last weights on the
test split. A gain is paired by seed. Figures: `benchmarks/distillation.md`.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks import study
from components.compress.distil import student_job
from components.compress.ensembling.combine import combine
from components.config import DistillationConfig, EnsembleConfig, NetworkConfig, StudentConfig, load
from components.environment import prepare_environment
from components.training.jobs.job import Job
from components.training.jobs.members import member_jobs

STUDENT = NetworkConfig(name="residual", arguments={"width": 8, "stride": 2})
ALONE = "labels alone"

# What is copied besides the logits, and how often the teacher is asked: 4 views stored, or in every epoch (None).
WAYS: dict[str, tuple[dict[str, dict[str, float]], int | None]] = {
    "logits": ({}, None),
    "logits, 4 views stored": ({}, 4),
    "logits, hint": ({"hint": {}}, None),
    "logits, attention": ({"attention": {}}, None),
    "logits, relation": ({"relation": {}}, None),
    "logits, contrastive": ({"contrastive": {}}, None),
}


def main() -> None:
    prepare_environment()
    options = study.options(__doc__, WAYS, epochs=8)
    line, dataset = load(study.ROOT, options.recipe, options.set).line, study.data(options.recipe, options.images)
    seeds = range(options.seeds)
    members = line.members.model_copy(update={"count": 3})
    taught = study.trained(
        "distillation", member_jobs(members, dataset.card.task, line.training, line.augment, seed=100), dataset
    )
    teacher = combine(taught, dataset, EnsembleConfig(combiner="soft"), study.FOLDER / "distillation" / "teacher")

    def student(way: str, seed: int) -> Job:
        kinds, views = WAYS[way]
        config = StudentConfig(
            network=STUDENT,
            epochs=options.epochs,
            views=views,
            distillation=DistillationConfig.model_validate(kinds),
        )
        job = student_job(teacher, config, line.training, line.augment, seed=seed)
        return replace(job, name=_name(way, seed))

    def alone(seed: int) -> Job:
        return Job(_name(ALONE, seed), dataset.card.task, STUDENT, seed, options.epochs, line.training, line.augment)

    jobs = [alone(seed) for seed in seeds]
    jobs += [student(way, seed) for way in options.only for seed in seeds]
    models = study.trained("distillation", jobs, dataset)
    accuracy = {model.card.name: study.on_test(model, dataset) for model in models}
    without = [accuracy[_name(ALONE, seed)] for seed in seeds]
    rows = []
    for way in (ALONE, *options.only):
        found = [accuracy[_name(way, seed)] for seed in seeds]
        helped = "" if way == ALONE else study.gain(found, without)
        rows.append({"copied": way, "accuracy, %": study.spread(found), "gain, pp": helped})
    title = f"Students of {options.epochs} epochs; their teacher has {100 * study.on_test(teacher, dataset):.2f} %"
    study.report("distillation", title, rows)


def _name(way: str, seed: int) -> str:
    return f"{way.replace(', ', '-').replace(' ', '-')}-{seed}"


if __name__ == "__main__":
    main()
