"""The best of a study as a recipe: a file that `convoy run --recipe` takes, which says where its values come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.config import ConfigurationError, LineConfig, write_yaml
from components.files import writing
from components.own_files import text
from components.training.tuning.space import with_values
from components.training.tuning.study import Findings, Study

WRITTEN = "# Written by `convoy tune`"  # how a recipe of this room begins, and is known as one
WIDTH = 116  # of a line, as elsewhere in recipes


def tuned(study: Study, findings: Findings) -> LineConfig:
    """The pipeline with the best trial's values, and without the study."""
    line = with_values(study.line, findings.best.values)
    return line.model_copy(update={"tune": type(line.tune)()})


def check_free(path: Path, *, force: bool) -> None:
    """Raise ConfigurationError where the file is there and may not be replaced: before the study, not after it."""
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigurationError(f"--output: expected a file NAME.yaml, received {path}")
    if path.exists() and not (text(path) or "").startswith(WRITTEN):
        raise ConfigurationError(
            f"--output: expected a file that is not there yet, or a recipe that `convoy tune` wrote, received {path}, "
            "which is neither and is never replaced; name another"
        )
    if path.exists() and not force:
        raise ConfigurationError(
            f"--output: expected a file that is not there yet, received {path}; --force replaces it"
        )


def write_recipe(study: Study, findings: Findings, path: Path, origin: Mapping[str, str]) -> None:
    """Write the complete `line:`. `origin` is what else the header says, such as the recipe that was tuned."""
    content = tuned(study, findings).model_dump(mode="json", exclude={"tune"})
    best, settings = findings.best, study.line.tune
    states = [trial.state for trial in findings.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    told = [
        f"{WRITTEN.removeprefix('# ')}: the best of the trials of one member network, judged on the validation split.",
        *(f"{name}: {value}" for name, value in origin.items()),
        f"trials: {len(states)} ({counts}); Optuna TPE, seed {settings.seed}; ASHA, grace {settings.grace}, "
        f"reduction {settings.reduction}",
        f"best: trial {best.number}, {study.metric} {best.value:.4f} after {best.epochs} epochs, the highest of "
        f"{states.count('finished')} that finished: of the test split expect less"
        if study.watched.more
        else f"best: trial {best.number}, {study.metric} {best.value:.4f} after {best.epochs} epochs, the lowest of "
        f"{states.count('finished')} that finished: of the test split expect more",
        "search space, and what was best:",
        *(f"  {key}={domain} → {_plain(best.values[key])}" for key, domain in study.space.items()),
    ]
    text = "".join(f"# {line}\n" for line in told)
    text += write_yaml({"line": content}, width=WIDTH)
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
