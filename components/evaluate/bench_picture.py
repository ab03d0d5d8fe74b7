"""What `convoy bench` has measured as a picture: how long one image takes, and how many a second come out."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure as Picture

from components import texts
from components.evaluate.plots import BLUE, GREEN, GREY, ORANGE, RED, plain, save
from components.export.bench.measure import Bench


def draw(bench: Bench, title: str, path: Path) -> Path:
    """Write `path`: medians with the way to the 99th percentile at the smallest batch, and throughput by batch."""
    runtimes = list(bench.files)
    colours = dict(zip(runtimes, (BLUE, ORANGE, GREEN, RED, GREY), strict=False))
    threads = sorted({pace.threads for pace in bench.pace})
    smallest = min(pace.batch for pace in bench.pace)
    picture = Picture(figsize=(9.0, 3.8), layout="constrained")
    left, right = picture.subplots(1, 2)
    single = [pace for pace in bench.pace if pace.batch == smallest]
    for place, pace in enumerate(single):
        left.barh(place, pace.p50_ms, color=colours[pace.runtime], height=0.6)
        left.plot([pace.p50_ms, pace.p99_ms], [place, place], color=GREY, linewidth=1.5, marker="|")
    left.set_yticks(range(len(single)), [_name(pace.runtime, pace.threads) for pace in single])
    left.invert_yaxis()
    left.set(xlabel=f"ms for {smallest} at a time: median, and to the 99th percentile", xlim=(0, None))
    for name in runtimes:
        for count, style in zip(threads, ("-", "--", ":", "-."), strict=False):
            points = [
                (pace.batch, pace.images_per_second)
                for pace in bench.pace
                if pace.runtime == name and pace.threads == count
            ]
            right.plot(*zip(*points, strict=True), style, marker="o", color=colours[name], label=_name(name, count))
    right.set(xscale="log", yscale="log", xlabel="images at a time", ylabel="images per second")
    batches = sorted({pace.batch for pace in bench.pace})
    right.set_xticks(batches, [str(batch) for batch in batches])
    right.minorticks_off()
    right.legend(frameon=False, fontsize=7)
    for axes in (left, right):
        plain(axes)
    picture.suptitle(texts.plot(title, texts.LONGEST), fontsize=10, x=0.01, ha="left")
    return save(picture, path)


def _name(runtime: str, threads: int) -> str:
    return f"{runtime}, {threads} thread{'s' if threads > 1 else ''}"
