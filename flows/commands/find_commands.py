"""`convoy find …`: settings that are measured rather than guessed, on a recipe's own data and network.

Imports no engine until a command needs it. All commands make the data set first where it is not there.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.config import ConfigurationError
from flows.base.project import Project
from flows.base.screen import Screen
from flows.commands import renamed, terminal

if TYPE_CHECKING:
    from components.artifacts import Dataset
    from components.config import Recipe
    from components.training.finding.batch import BatchSizes
    from components.training.finding.format import Formats
    from components.training.finding.rates import RangeTest
    from components.training.jobs.job import Job

app = typer.Typer(
    help="Measure the batch size, number format and learning rate that suit a network and this machine.",
    no_args_is_help=True,
)

NOTHING_DONE = "interrupted; nothing was written"
LEAST_ROWS = 24  # of the printed curve, at most: a screen

RecipeOption = Annotated[
    str, typer.Option("--recipe", "-r", help="`default` (params.yaml) or the name of a file in recipes/.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", "-S", help="Override one key of `line:`, as KEY=VALUE. May be repeated.")
]


@app.command("batch-size", cls=renamed.renaming(renamed.BATCH_SIZE))
def batch_size(
    recipe: RecipeOption = "default",
    overrides: SetOption = None,
    memory: Annotated[
        float | None, typer.Option(help="Memory limit per worker in MB; by default 90 % of what is free.", min=1.0)
    ] = None,
    max_batch_size: Annotated[
        int | None, typer.Option(help="Largest batch size to try; by default the size of the data.", min=1)
    ] = None,
) -> None:
    """Find the largest batch that fits, and the smallest that is as fast. Nothing is written."""
    with _looking() as (project, console), _prepared(project, recipe, overrides or []) as (settings, dataset):
        from components.training.finding.batch import find_batch_size

        job = _job(settings)
        limit = None if memory is None else int(memory * 2**20)
        with Screen(stderr=True).status("measuring …") as status:
            found = find_batch_size(
                job,
                dataset,
                decoded=project.decoded,
                device=_device(job),
                limit=limit,
                most=max_batch_size,
                on_tried=lambda tried: status.update(f"a batch of {tried.size:,} was measured …"),
            )
        _show_sizes(console, found, job)


@app.command("learning-rate", cls=renamed.renaming(renamed.LEARNING_RATE))
def learning_rate(
    recipe: RecipeOption = "default",
    overrides: SetOption = None,
    min_lr: Annotated[float, typer.Option(help="Learning rate of the first step.")] = 1e-6,
    max_lr: Annotated[float, typer.Option(help="Learning rate of the last step.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Number of steps from the lowest to the highest rate.", min=20)] = 200,
) -> None:
    """Run a learning rate range test: the loss while the rate rises until it diverges. Logged to MLflow."""
    with _looking() as (project, console), _prepared(project, recipe, overrides or []) as (settings, dataset):
        from components.training.finding.opening import opened
        from components.training.finding.rates import find_learning_rate

        job = _job(settings)
        with Screen(stderr=True).status("measuring …") as status:
            import torch

            cpus = job.training.cpus_per_worker
            if cpus is not None:
                torch.set_num_threads(cpus)
            found = find_learning_rate(
                job,
                opened(job, dataset, project.decoded),
                torch.device(_device(job)),
                lowest=min_lr,
                highest=max_lr,
                steps=steps,
                on_step=lambda done, total: status.update(f"step {done} of {total} …"),
            )
        _show_rates(console, found, job)
        _remember(project, console, settings, dataset, found, recipe, job)


@app.command("format")
def number_format(recipe: RecipeOption = "default", overrides: SetOption = None) -> None:
    """Find the precision and memory layout in which the network trains fastest on this machine. Nothing is written."""
    with _looking() as (project, console), _prepared(project, recipe, overrides or []) as (settings, dataset):
        from components.training.finding.format import find_format

        job = _job(settings)
        with Screen(stderr=True).status("measuring …") as status:
            found = find_format(
                job,
                dataset,
                decoded=project.decoded,
                device=_device(job),
                on_measured=lambda done, total: status.update(f"measured {done} of {total} …"),
            )
        _show_formats(console, found, job)


def _job(settings: Recipe) -> Job:
    """The first member's training: what the pipeline does most of."""
    from components.training.jobs.job import Job

    line = settings.line
    return Job(
        name="member-0",
        task=settings.dataset.task,
        network=line.members.networks[0],
        seed=line.seed,
        epochs=line.members.epochs,
        training=line.training,
        augment=line.augment,
    )


def _device(job: Job) -> str:
    import torch

    return "cuda" if job.training.use_gpu == "auto" and torch.cuda.is_available() else "cpu"


def _show_sizes(console: Console, found: BatchSizes, job: Job) -> None:
    workers = job.training.least_workers
    each = f", for each of {workers} workers" if workers > 1 else ""
    table = Table(title=f"{found.limit / 2**20:,.0f} MB{each}", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("batch", "images/s", "peak MB", ""):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for tried in found.table:
        notes = [tried.note] if tried.note else []
        notes += ["the largest that fits"] if tried.size == found.largest else []
        notes += ["the smallest within 5 % of the best"] if tried.size == found.suggested else []
        rate = "–" if tried.images_per_second is None else f"{tried.images_per_second:,.0f}"
        table.add_row(
            f"{tried.size:,}", rate, "–" if tried.peak is None else f"{tried.peak / 2**20:,.0f}", "; ".join(notes)
        )
    console.print(table)
    console.print(f"{found.ended}.", highlight=False)
    _say(console, "keeps the pace", f"-S training.batch_size={found.suggested}")
    if found.largest != found.suggested:
        _say(console, "the largest that fits", f"-S training.batch_size={found.largest}")
    old, scaling = job.training.batch_size, job.training.rate_scaling
    if found.suggested != old and scaling == "none":
        rule = "linear" if job.training.optimizer == "sgd" else "square-root"
        _say(
            console,
            f"with it, the rate that was chosen for {old}",
            f"-S training.rate_scaling={rule} -S training.reference_batch={old}",
        )


def _show_formats(console: Console, found: Formats, job: Job) -> None:
    table = Table(
        title=f"{job.network.name}, a batch of {job.training.batch_size:,}", title_justify="left", box=box.SIMPLE_HEAD
    )
    for heading in ("precision", "memory format", "images/s", "peak MB", ""):
        table.add_column(heading, justify="right" if heading in ("images/s", "peak MB") else "left", no_wrap=True)
    for each in found.table:
        note = "as configured" if each == found.used else ""
        row = (each.precision, each.memory_format, f"{each.images_per_second:,.0f}", f"{each.peak / 2**20:,.0f}", note)
        table.add_row(*row)
    console.print(table)
    if found.suggested == found.used:
        console.print("keep what is configured: nothing else is more than 5 % faster", highlight=False)
        return
    gain = found.suggested.images_per_second / found.used.images_per_second
    keys = (
        f"-S training.precision={found.suggested.precision} -S training.memory_format={found.suggested.memory_format}"
    )
    _say(console, f"{gain:.2f} times as fast as what is configured", keys)


def _show_rates(console: Console, found: RangeTest, job: Job) -> None:
    from components.training.finding.rates import TENTH, configured

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("step", "rate", "loss", "smoothed"):
        table.add_column(heading, justify="right")
    every = max(1, -(-len(found.rates) // LEAST_ROWS))
    for at in range(0, len(found.rates), every):
        table.add_row(str(at + 1), f"{found.rates[at]:.2e}", f"{found.losses[at]:.4f}", f"{found.smoothed[at]:.4f}")
    console.print(table)
    if found.steepest is None:
        console.print("the loss never fell: raise --max-lr, or look at the data", highlight=False)
    else:
        _say(console, "steepest descent, where the loss falls fastest", _rate(configured(found.steepest, job)))
    if found.divergence is None:
        said = f"no divergence up to a rate of {found.rates[-1]:.2g}; --max-lr goes further"
        console.print(said, highlight=False)
    else:
        tenth = TENTH * found.divergence
        why = f"divergence, a tenth of {found.divergence:.2g}, from where on a tenth of the descent is lost"
        _say(console, why, _rate(configured(tenth, job)))


def _rate(value: float) -> str:
    return f"-S training.learning_rate={value:.2g}"


def _remember(
    project: Project,
    console: Console,
    settings: Recipe,
    dataset: Dataset,
    found: RangeTest,
    recipe: str,
    job: Job,
) -> None:
    """Curve and picture as a run of the model's experiment, opened when there is nothing left that could fail."""
    from components.registry.memory import tracking
    from components.training.finding.picture import draw

    name = settings.line.dataset
    connection = tracking.connect(project.root, settings.line.model)
    with tempfile.TemporaryDirectory(prefix="convoy-range-") as temporary:
        folder = Path(temporary)
        draw(
            found,
            f"{settings.line.model}: {job.training.optimizer}, batch {job.training.batch_size}",
            folder / "range.png",
        )
        with (folder / "range.csv").open("w", encoding="utf-8", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["step", "learning_rate", "loss", "smoothed"])
            curve = zip(found.rates.tolist(), found.losses.tolist(), found.smoothed.tolist(), strict=True)
            rows.writerows([step, *row] for step, row in enumerate(curve, start=1))
        tags = {
            tracking.KIND: "range-test",
            tracking.DATASET: name,
            tracking.DATA: dataset.digest,
            "convoy.recipe": recipe,
        }
        run_id = connection.start_run(f"learning rate · {recipe}", tags=tags)
        connection.log_params(
            run_id, {f"training.{key}": value for key, value in job.training.model_dump(mode="json").items()}
        )
        read = {"steepest": found.steepest, "divergence": found.divergence, "suggested": found.suggested}
        connection.log_metrics(run_id, {key: value for key, value in read.items() if value is not None})
        connection.log_artifacts(run_id, folder, "range")
        connection.finish(run_id)
    place = connection.artifact_folder(run_id, "range/range.png")
    _say(console, f"the curve, in MLflow's run {run_id[:8]}", terminal.short(place))


@contextmanager
def _looking() -> Iterator[tuple[Project, Console]]:
    project = terminal.project()
    console = Screen(stderr=True)
    with terminal.explained(console, project.logs / terminal.ERRORS, NOTHING_DONE):
        try:
            yield project, Screen(width=max(100, shutil.get_terminal_size().columns))
        except ConfigurationError as error:
            terminal.stop(console, str(error), terminal.WRONG)


@contextmanager
def _prepared(project: Project, recipe: str, overrides: list[str]) -> Iterator[tuple[Recipe, Dataset]]:
    """The whole configuration, checked, and its data set, made where it is not there."""
    with Screen(stderr=True).status("preparing the data …"):
        from flows.run.check import complete

        settings = complete(project, recipe, overrides)
        from components.data import versions

        name = settings.line.dataset
        dataset = versions.reproduce(project.root, name, log=project.logs / f"data-{name}.log")
    yield settings, dataset


def _say(console: Console, note: str, text: str) -> None:
    """A line that is not broken: it is copied."""
    console.print(Text.assemble((f"{note}: ", "dim"), (text, "bold")), soft_wrap=True)
