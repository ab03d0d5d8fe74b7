"""What is called how in MLflow: a contract with whoever reads it. docs/reference/mlflow.md is written from here, and a
test holds what a real run of the pipeline has written against it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tag:
    """`every` and `some`: on all runs of these kinds, or only on some of them; `version` is one of a registered model.

    A word in capitals at the end of a name stands for any.
    """

    name: str
    every: tuple[str, ...]
    some: tuple[str, ...]
    says: str


RUNS = (  # `kind`, what it is, how it is named
    ("pipeline", "one run of the pipeline", "`pipeline · RECIPE`"),
    ("step", "a step, below its pipeline run, in the order of the steps", "`02 data-validation`, `05 train`, …"),
    ("network", "a network in training, below its step, one point per epoch", "`member-0`, `student`, …"),
    ("decision", "what the gates or a person decided, beside the pipeline runs", "`pass NAME v3`, `approve NAME v3`"),
    ("tune", "one search by `convoy tune`", "`tune · RECIPE`"),
    ("trial", "a trial of it, below it", "`trial-N`"),
    ("bench", "what `convoy bench` has measured", "`bench · NAME`"),
    ("range-test", "what `convoy find learning-rate` has measured", "`learning rate · RECIPE`"),
)

TAGS = (
    Tag("kind", ("pipeline", "step", "network", "decision"), (), "what the run is"),
    Tag("convoy.recipe", ("pipeline",), (), "the recipe's name"),
    Tag("convoy.dataset", ("pipeline", "version"), (), "name of the data set"),
    Tag("convoy.data", ("version",), ("pipeline",), "DVC's digest of the prepared data: once the run has got as far"),
    Tag(
        "convoy.unlabelled",
        (),
        ("pipeline",),
        "digest of the data set that the student learns from without labels, where there is one",
    ),
    Tag("convoy.parameters", ("pipeline",), (), "digest of the whole configuration"),
    Tag("convoy.lock", ("pipeline",), (), "digest of the installed versions of the locked libraries"),
    Tag("convoy.overrides", (), ("pipeline", "version"), "the `-S` that the run was started with"),
    Tag("convoy.code", (), ("pipeline",), "digest of the code of its steps"),
    Tag("convoy.as_of", (), ("pipeline",), "the past moment whose data it worked on"),
    Tag(
        "convoy.prefect_flow_run",
        (),
        ("pipeline",),
        "Prefect's id of the same run; a pipeline that had nothing to do has none",
    ),
    Tag("convoy.decision", (), ("pipeline",), "`pass` or `fail`: what the gates said at its end"),
    Tag("convoy.version", ("decision",), ("pipeline",), "the version that it is about"),
    Tag("convoy.ran.STEP", (), ("pipeline",), "the run in which this pipeline did the step"),
    Tag("convoy.reused.STEP", (), ("pipeline",), "the earlier run that had done it"),
    Tag("convoy.skipped.STEP", (), ("pipeline",), "why the step was left out"),
    Tag(
        "convoy.lease",
        ("pipeline", "step", "network"),
        (),
        "the lease under which it was opened: who closes it after a kill",
    ),
    Tag("convoy.step", ("step",), (), "the step"),
    Tag(
        "convoy.key",
        ("step",),
        (),
        "digest of its inputs, settings, code and libraries: the same key is not done again",
    ),
    Tag("convoy.part.NAME", (), ("step",), "the digests that the key is made of"),
    Tag(
        "convoy.manifest",
        ("step", "version"),
        (),
        "digest of the manifest: which files belong to the step's result, or to the version's `convoy.files`",
    ),
    Tag("convoy.because", (), ("step",), "what had changed, so that it was done"),
    Tag("convoy.note", (), ("network",), "what training had to say"),
    Tag("convoy.warning", (), ("network",), "what it warned of"),
    Tag("convoy.model", ("decision",), (), "the registered model"),
    Tag(
        "convoy.action",
        ("decision",),
        (),
        "`pass`, `fail` of the gates; of people `approve`, `reject`, `promote`, `roll back`, `retire`, `acknowledge`",
    ),
    Tag("convoy.alias", ("decision",), (), "the alias that moved, or went; empty where none did"),
    Tag("convoy.from_version", ("decision",), (), "what the alias named before; empty where nothing"),
    Tag("convoy.by", ("decision",), (), "`gates`, or a person"),
    Tag("convoy.at", (), ("decision",), "when"),
    Tag("convoy.test_split", (), ("decision",), "digest of the samples that the gates' metrics are of"),
    Tag("convoy.source", (), ("decision",), "what a person's word came through"),
    Tag("convoy.evaluation", (), ("decision",), "the how-manieth artifact that was on that test split"),
    Tag("convoy.against", (), ("decision",), "the version in production that the gates compared it with"),
    Tag("convoy.challenge", (), ("decision",), "the how-manieth artifact that was against that version"),
    Tag("convoy.number", ("decision",), (), "its place in the ledger's chain, from 1 on"),
    Tag("convoy.entry_before", ("decision",), (), "the entry of the decision before it"),
    Tag("convoy.entry", ("decision",), (), "digest of this decision, its number and the entry before"),
    Tag("convoy.acknowledged", (), ("decision",), "which findings about the ledger a person has seen"),
    Tag("convoy.artifact", ("version",), ("decision",), "digest of the deployable artifact"),
    Tag("convoy.evidence", ("version",), (), "digest of the metrics it was registered with"),
    Tag("convoy.package", ("version",), (), "digest of the manifest of all that is loaded and run where it is served"),
    Tag("convoy.run", ("version",), (), "the run that registered it"),
    Tag(
        "convoy.files",
        ("version",),
        (),
        "folder among that run's artifacts: card, evidence, predictions, drift reference",
    ),
    Tag("convoy.task", ("version",), (), "the task"),
    Tag("convoy.precision", ("version",), (), "`int8`, `float32` …"),
    Tag("convoy.processor", ("version",), ("step",), "the kind of processor that metrics were measured on"),
    Tag(
        "convoy.int8_sums",
        (),
        ("version",),
        "how int8 was added up in what was judged: `either`, `as run`, `saturating`",
    ),
    Tag("convoy.network", ("version",), (), "the network's family"),
    Tag("metric.NAME", ("version",), (), "each metric that gates may judge"),
    Tag("convoy.gates", (), ("version",), "`passed` or `failed`: the gates' last word"),
    Tag("convoy.superseded", (), ("version",), "the version whose place it took in production"),
    Tag("convoy.rolled_back", (), ("version",), "when and why it was taken back"),
    Tag("mlflow.runName", ("pipeline", "step", "network", "decision"), (), "the name"),
    Tag("mlflow.parentRunId", ("step", "network"), (), "the run above"),
    Tag("mlflow.note.content", ("pipeline", "step", "decision"), (), "the description"),
    Tag("mlflow.source.git.commit", ("pipeline",), (), "the commit, `+changes` where there were some"),
    Tag("mlflow.source.name", ("pipeline",), (), "the command"),
    Tag("mlflow.source.type", ("pipeline",), (), "`LOCAL`"),
    Tag("mlflow.user", ("pipeline",), (), "who ran it"),
)

METRICS = (  # name, of which runs, what it is
    ("the primary metric (`accuracy`, `mean_iou`)", "pipeline", "of the deployable artifact, on the test split"),
    ("`seconds.PART`", "pipeline", "wall time of each part"),
    (
        "`test.NAME`, `.low`, `.high`",
        "`evaluate`, `register`, model",
        "each metric and its interval; `test.COLUMN.GROUP.NAME` for groups",
    ),
    (
        "`test.METRIC_without_twins`, `test.METRIC_change_by_twins`, `test.samples_with_twins`",
        "as above",
        "where test samples have twins in what was learnt from: the primary metric without these, the change, how many",
    ),
    (
        "`moved`, `judged_with_twins`",
        "`data-validation`",
        "samples put beside their twins; samples judged although their twin was learnt from",
    ),
    ("`train_loss`, `validation_…`, `learning_rate`", "network", "one point per epoch"),
    ("`images_per_second`, `epoch_seconds`, `waiting_seconds`", "network", "what an epoch cost"),
    ("`seconds`", "step", "wall time"),
)

FILES = (  # artifact, of which runs, what it is
    ("`result/`", "step", "what it hands on; the pipeline reads it from there"),
    ("`report/report.html`", "`promote`", "the report, one page that needs nothing else"),
    ("`result/card.md`", "`register`", "the model card"),
    (
        "`chain/chain.json`, `chain/pareto.png`",
        "pipeline, `evaluate`",
        "every variant of the model, and accuracy against cost",
    ),
    ("`plots/ensemble.png`", "`ensemble`", "members and combiners"),
    ("`data-validation/docs/index.html`", "`data-validation`", "Great Expectations' data docs"),
    ("`drift/drift.html`", "`drift`", "Evidently's report, where there was something to compare with"),
    ("`augmentation/augmentation.png`", "`augmentation`", "samples as training sees them"),
    ("`decision.json`", "decision", "the decision with every verdict"),
)
