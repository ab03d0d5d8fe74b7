"""`convoy export` and `convoy bench`: an artifact for somebody else, and how fast it is here.

Imports no engine until a command needs it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from components import texts
from flows.base.screen import Screen, say_json
from flows.commands import terminal

if TYPE_CHECKING:
    from components.export.bench.measure import Bench
    from components.export.bench.targets import Target
    from components.registry.finding import Found
    from components.registry.memory.tracking import Tracking

NOTHING_WRITTEN = "interrupted; nothing was written"
LEAST_WIDTH = 79  # of the table: below that the columns that say least are left out

ModelArgument = Annotated[
    str, typer.Argument(help="NAME, NAME@alias, NAME:version, a run's id, RUN/MODEL, or a model's folder.")
]


def export(
    model: ModelArgument,
    format: Annotated[str, typer.Option("--format", "-f", help="onnx, openvino, torch or executorch.")] = "onnx",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The folder; by default NAME-FORMAT.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an earlier export.")] = False,
) -> None:
    """Export a model's artifact with its signature, labels, provenance and checksums to a folder."""
    project = terminal.project()
    console = Screen(stderr=True)
    with terminal.explained(console, project.logs / terminal.ERRORS, NOTHING_WRITTEN):
        from components.export import formats
        from components.registry import finding
        from components.registry.memory import tracking

        formats.chosen(format)  # before anything is looked for
        if output is not None:
            formats.check_replaceable(output)
        with tracking.looking(project.root) as store:
            found = finding.find(store, model)
        # A model's own name is a file's word, and may be a path.
        folder = output or Path(f"{found.experiment or texts.file_name(found.served.card.name)}-{format}")
        formats.check_replaceable(folder)  # before an hour's reading: whatever is no export stays, also with --force
        if folder.exists() and any(folder.iterdir()) and not force:
            terminal.stop(
                console,
                f"{folder}: expected a folder that is empty or not there, received one with an export; name another "
                "with --output, or replace it with --force",
                terminal.WRONG,
            )
        with console.status(f"writing {folder} …"):
            file = formats.write(formats.Source(found.served, found.weights, found.about), format, folder)
        out = Screen()
        card = found.served.card
        precision = "float32" if formats.FORMATS[format].trained else card.precision
        out.print(Text.assemble(("✓", "green"), f" {found.said} as {format} ({precision}, {card.task})"))
        for path in sorted(file.parent.iterdir()):
            out.print(f"  {terminal.short(path.absolute()):<44} {path.stat().st_size:>10,} bytes", highlight=False)
        way = f"cd {texts.shell(str(folder))} && sha256sum --check SHA256SUMS"
        out.print(Text.assemble(("check it: ", "dim"), way), soft_wrap=True)  # it is copied


def bench(
    model: Annotated[str, typer.Argument(help="As for `export`, or a file: *.onnx, *.xml, *.pt2, *.pte.")],
    runtime: Annotated[
        list[str] | None, typer.Option(help="Inference engine; by default all that are installed.")
    ] = None,
    threads: Annotated[str, typer.Option(help="Thread counts, comma-separated; `all` means every core.")] = "1,all",
    batch: Annotated[str, typer.Option(help="Batch sizes, comma-separated.")] = "1,8,64",
    rounds: Annotated[int, typer.Option(help="Measuring rounds; the engines take turns in each.", min=1)] = 15,
    watts: Annotated[
        float | None,
        typer.Option(
            help="Power of a busy core in watts, where the processor's energy counters cannot be read.", min=0.0
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on the standard output.")] = False,
    log: Annotated[bool, typer.Option(help="Keep the metrics and a picture as a run in MLflow.")] = True,
) -> None:
    """Benchmark a model: latency percentiles, throughput, cold start, peak memory and energy, by engine and threads."""
    project = terminal.project()
    console = Screen(stderr=True)
    with terminal.explained(console, project.logs / terminal.ERRORS, NOTHING_WRITTEN):
        counts, batches = numbers("threads", threads), numbers("batch", batch)
        from components.export.bench import energy, measure
        from components.export.bench.targets import machine
        from components.registry.memory import tracking

        with console.status("measuring …") as status:

            def measured(target: Target) -> Bench:
                return measure.measure(
                    target.files,
                    target.shape,
                    artifact=target.artifact,
                    machine=machine(),
                    threads=counts,
                    batches=batches,
                    rounds=rounds,
                    meter=energy.meter(watts),
                    on_step=lambda said: status.update(f"{said} …"),
                ).model_copy(update={"left_out": target.left_out})

            found, done = _measured(project.root, model, runtime or [], measured)
        said = found.said if found else model
        if json:
            say_json(done.model_dump(mode="json"))
        else:
            out = Screen()
            out.print(table(done, said, out.width))
            out.print(below(done), highlight=False)
        if log:
            run_id = _remember(tracking.connect(project.root), found, done, said)
            console.print(Text.assemble(("in MLflow's run ", "dim"), run_id))


def numbers(option: str, text: str) -> list[int]:
    """`1,all` → numbers in ascending order, each once; `all` is every core. Raises ValueError naming the option."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    words = [word.strip() for word in text.split(",")]
    wrong = [word for word in words if not (word == "all" or (word.isdigit() and int(word) > 0))]
    if wrong:
        raise ValueError(f"--{option}: expected numbers with commas between them, such as 1,8, received {text!r}")
    return sorted({cores if word == "all" else int(word) for word in words})


def table(done: Bench, said: str, width: int) -> Table:
    """A row an engine, its threads and batch; percentiles in ms."""
    energy = done.energy is not None
    headings = ["runtime", "threads", "batch", "p50 ms", "p90", "p99", "images/s", *(["mJ/image"] if energy else [])]
    wide = width >= LEAST_WIDTH
    title = f"{said} on {done.machine}" if wide else said
    result = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1 if wide else 0))
    for heading in headings:
        result.add_column(heading, justify="left" if heading == "runtime" else "right", no_wrap=True)
    before = None
    for pace in sorted(done.pace, key=lambda pace: (pace.threads, pace.batch)):
        if before is not None and before != (pace.threads, pace.batch):
            result.add_section()
        before = (pace.threads, pace.batch)
        cells = [f"{pace.p50_ms:.3f}", f"{pace.p90_ms:.3f}", f"{pace.p99_ms:.3f}", f"{pace.images_per_second:,.0f}"]
        cells += [f"{pace.millijoules:.3f}"] if pace.millijoules is not None else []
        result.add_row(pace.runtime, str(pace.threads), str(pace.batch), *cells)
    return result


def below(done: Bench) -> str:
    """Starts, memory, what the energy is worth, and who was left out."""
    lines = [
        f"{name:<12} cold start {start.seconds:.2f} s (loading {start.load_seconds:.2f}, first answer "
        f"{start.answer_seconds * 1000:.1f} ms), peak memory {start.peak_bytes / 2**20:,.0f} MB"
        for name, start in done.starts.items()
    ]
    basis = {
        "counters": "energy: the processor's own counters, of everything that ran on it meanwhile",
        "estimate": "energy: an estimate, CPU seconds times --watts",
        None: "energy: not known here (no counters that can be read); --watts of a busy core gives an estimate",
    }
    lines.append(basis[done.energy])
    lines += [f"{name}: left out, {why}" for name, why in done.left_out.items()]
    return "\n".join(lines)


def _measured(
    root: Path,
    text: str,
    wanted: list[str],
    measure: Callable[[Target], Bench],
) -> tuple[Found | None, Bench]:
    """Find what is to be measured, and measure it."""
    from components.export.bench import targets
    from components.registry import finding
    from components.registry.memory import tracking

    if Path(text).is_file():
        target = targets.of_file(Path(text), wanted)
        return None, measure(target)
    with tracking.looking(root) as store:
        found = finding.find(store, text)
    with tempfile.TemporaryDirectory(prefix="convoy-bench-") as scratch:
        target = targets.of_model(found.served, found.weights, wanted, Path(scratch))
        return found, measure(target)


def _remember(connection: Tracking, found: Found | None, done: Bench, said: str) -> str:
    """Figures, table and picture as a run, below the run that made the model; returns the run's id."""
    from components.evaluate.bench_picture import draw
    from components.registry.memory import tracking

    experiment = found.experiment if found and found.experiment else "bench"
    parent = found.run_id if found else None
    store = connection.of_run(parent) if parent else connection.within(experiment)
    tags = {tracking.KIND: "bench", "convoy.artifact": done.artifact, **({"convoy.run": parent} if parent else {})}
    run_id = store.start_run(f"bench · {said}", parent=parent, tags=tags)
    store.log_params(run_id, {"machine": done.machine, "rounds": done.rounds, **done.versions})
    metrics: dict[str, float] = {}
    for pace in done.pace:
        key = f"{pace.runtime}.threads-{pace.threads}.batch-{pace.batch}"
        metrics |= {
            f"{key}.{name}": getattr(pace, name) for name in ("p50_ms", "p90_ms", "p99_ms", "images_per_second")
        }
        metrics |= {f"{key}.millijoules": pace.millijoules} if pace.millijoules is not None else {}
    for name, start in done.starts.items():
        metrics |= {f"{name}.cold_start_seconds": start.seconds, f"{name}.peak_bytes": float(start.peak_bytes)}
    store.log_metrics(run_id, metrics)
    with tempfile.TemporaryDirectory(prefix="convoy-bench-") as temporary:
        folder = Path(temporary)
        (folder / "bench.json").write_text(done.to_json(), encoding="utf-8")
        draw(done, f"{said} on {done.machine}", folder / "bench.png")
        store.log_artifacts(run_id, folder, "bench")
    store.finish(run_id)
    return run_id
