"""What a run does and what it comes to, whoever orchestrates it: the chain of its steps, and its conclusion.

`line` has Prefect run it, `plan` only looks each step up, `idle` records one of which every step is cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from components import texts
from components.artifacts import Dataset, Decision
from components.config import LineConfig
from components.metrics.metric import Metric
from components.registry.memory import tracking as memory
from components.registry.memory.store import MissingError
from flows import steps
from flows.run import comparison, ways
from flows.run.context import Done, Line
from flows.schedules import notifications


@dataclass(frozen=True)
class Outcome:
    """What a run of the pipeline came to."""

    model: str
    run_id: str  # MLflow's parent run
    data: Dataset
    assessment: steps.Assessment  # members, ensemble, student, pruned, what is served
    decision: Decision
    done: list[Done]
    compared: comparison.Compared  # with the run before it

    @property
    def unchanged(self) -> bool:
        """Whether every step had been done before."""
        return all(step.cached for step in self.done)


def through(settings: LineConfig) -> tuple[Dataset, steps.Assessment, Decision]:
    """The steps, one after the other."""
    training, augment, seed = settings.training, settings.augment, settings.seed

    data = steps.data(settings.dataset)  # DVC: ingest, prepare, validate
    steps.validation(data)
    drift = steps.drift(data, settings.model, settings.drift)
    steps.augmentation(data, augment, seed)
    members = steps.train(data, settings.members, training, augment, seed)  # Ray: one worker group, K members
    teacher = steps.ensemble(members, data, settings.ensemble)
    unlabelled = steps.unlabelled(settings.student)
    student = steps.distil(teacher, data, settings.student, training, augment, seed + len(members), unlabelled)
    taught = teacher, settings.student, training, augment, seed, unlabelled  # how a network is trained on
    pruned = steps.prune(student, data, settings.prune, *taught)
    quantized = steps.quantize(pruned, data, settings.quantize, *taught)
    assessment = steps.evaluate(members, teacher, student, pruned, quantized, data, settings.evaluate)
    version = steps.register(quantized, assessment, data, settings.model, settings.drift)
    decision = steps.promote(version, quantized, assessment, data, drift, settings.evaluate, settings.gates)
    return data, assessment, decision


def concluded(run: Line, data: Dataset, assessment: steps.Assessment, decision: Decision) -> Outcome:
    """Tell people what was decided, write the conclusion on the parent run, and hand it back."""
    from components.evaluate import chain
    from components.registry import versions
    from components.tasks import registry as tasks

    tags = {**run.custody, memory.DATA: data.digest, comparison.CODE: comparison.code(run.done)}
    compared = comparison.with_earlier(run.tracking, run.custody["convoy.recipe"], run.run_id, tags)
    outcome = Outcome(
        model=run.recipe.line.model,
        run_id=run.run_id,
        data=data,
        assessment=assessment,
        decision=decision,
        done=list(run.done),
        compared=compared,
    )
    if any(step.step == "promote" and not step.cached for step in outcome.done):
        notifications.of_decision(run.project, decision)  # once: a run that finds it decided has no news
    metric, primary = tasks.of(data.card).spec.primary, assessment.evidence.primary
    run.tracking.log_note(run.run_id, f"{_note(run, outcome)}\n\n{chain.markdown(assessment.stages, metric)}")
    run.tracking.log_model_output(run.run_id, versions.logged_model(run.tracking, decision.name, decision.version))
    _keep_chain(run, assessment, metric)
    run.tracking.log_tags(
        run.run_id,
        {
            "convoy.decision": decision.action,
            "convoy.version": str(decision.version),
            comparison.CODE: tags[comparison.CODE],
            **{f"convoy.{'reused' if done.cached else 'ran'}.{done.step}": done.run_id for done in outcome.done},
        },
    )
    seconds = {f"seconds.{part}": value for part, value in run.seconds.items()}
    run.tracking.log_metrics(run.run_id, {primary: assessment.evidence.figures[primary].value, **seconds})
    return outcome


def _note(run: Line, outcome: Outcome) -> str:
    """The description of the parent run: the decision, what differs from the run before, and every step."""
    decision, compared = outcome.decision, outcome.compared
    rows = [
        (done.step, _linked(run, done), texts.markdown(done.summary), texts.markdown(done.because))
        for done in outcome.done
    ]
    # The page shows the first lines and folds the rest.
    why = texts.markdown(decision.reason)
    note = [ways.inside(run, decision), "", f"**{decision.action} version {decision.version}**: {why}", ""]
    note += [*(["Nothing new: every step was cached.", ""] if outcome.unchanged else []), compared.said(), ""]
    return "\n".join([*note, texts.markdown_table(("step", "run", "", "done because"), rows)])


def _linked(run: Line, done: Done) -> str:
    text = f"{done.run_id[:8]}{' (reused)' if done.cached else ''}"
    return f"[{text}]({run.tracking.inside(done.run_id)})"


def _keep_chain(run: Line, assessment: steps.Assessment, metric: Metric) -> None:
    """The pages of the chain, from the step that has measured it; made again where somebody has removed them."""
    from components.evaluate import chain

    evaluated = next(done.run_id for done in run.done if done.step == "evaluate")
    try:
        folder = run.tracking.artifact_folder(evaluated, "chain")
    except MissingError:
        folder = None
    with TemporaryDirectory(prefix="convoy-chain-") as scratch:
        if folder is None or not all((folder / name).is_file() for name in chain.FILES):
            folder = Path(scratch)
            chain.write(assessment.stages, folder, metric)
        run.tracking.log_artifacts(run.run_id, folder, "chain")
