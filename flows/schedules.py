"""The line on a schedule, served from this machine (`Flow.serve`) for as long as the command runs."""

from __future__ import annotations

from prefect.schedules import Cron

from flows.line import line

OVERLAP = 1  # a line that outlasts its interval is not overtaken by the next: that one waits


def serve(recipe: str, overrides: list[str], cron: str, timezone: str) -> None:
    """Register the deployment `line/RECIPE` and run it on time until interrupted.

    PREFECT_API_URL must name a server that stays: a temporary one has no scheduler.
    A scheduled run reads params.yaml when it starts; on unchanged data, code and parameters it finds every step done.
    """
    line.serve(
        name=recipe,
        schedule=Cron(cron, timezone=timezone),
        parameters={"recipe": recipe, "overrides": overrides},
        limit=OVERLAP,
        global_limit=OVERLAP,
        pause_on_shutdown=False,
        print_starting_message=False,
    )
