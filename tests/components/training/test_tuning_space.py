"""What a study may change: ranges and choices as people write them, each checked against the typed configuration."""

from __future__ import annotations

from typing import Any

import pytest

from components.config import ConfigurationError, LineConfig
from components.metrics.metric import Metric
from components.training.tuning.space import (
    Choices,
    Domain,
    Range,
    parse_domain,
    parse_search,
    space_of,
    value_at,
    with_values,
)
from components.training.tuning.study import Study, Trial, best_of


def line(**changes: Any) -> LineConfig:
    network = {"name": "residual", "arguments": {"width": 8}}
    values: dict[str, Any] = {
        "dataset": "digits",
        "model": "digits",
        "members": {"networks": [network], "epochs": 3},
        "student": {"network": network, "epochs": 3},
        "gates": [{"gate": "floor", "limit": 0.5}],
        **changes,
    }
    return LineConfig.model_validate(values)


def searching(search: dict[str, Any], **changes: Any) -> LineConfig:
    return line(tune={"search": search}, **changes)


@pytest.mark.parametrize(
    ("key", "written", "expected"),
    [
        ("training.learning_rate", "1e-4..1e-1:log", Range(1e-4, 0.1, log=True)),
        ("training.learning_rate", "0.001..0.1", Range(0.001, 0.1)),
        ("training.learning_rate", "1e-3,1e-2", Choices((0.001, 0.01))),  # a word to YAML 1.1, a number to people
        ("training.batch_size", "16..128:log", Range(16, 128, log=True)),
        ("training.batch_size", "16,32,64", Choices((16, 32, 64))),
        ("training.batch_size", [16, 32], Choices((16, 32))),
        ("training.optimizer", "adamw,sgd", Choices(("adamw", "sgd"))),
        ("training.gradient_clip", "null,1.0", Choices((None, 1.0))),
        ("training.imbalance.loss", "natural,focal", Choices(("natural", "focal"))),
        ("augment.rotation", "0..15", Range(0.0, 15.0)),  # a real number, however it is written
        ("augment.flip", "0,0.5", Choices((0.0, 0.5))),
        ("members.epochs", "2..8", Range(2, 8)),
        ("members.networks.0.arguments.width", "8,16", Choices((8, 16))),
    ],
)
def test_domains_are_read_as_the_line_has_their_values(key: str, written: str | list[Any], expected: Domain) -> None:
    found = space_of(searching({key: written}))[key]
    assert found == expected
    assert [type(value) for value in found.samples] == [type(value) for value in expected.samples]


def test_the_commands_form_is_key_and_domain() -> None:
    assert parse_search("line.training.learning_rate=1e-4..1e-1:log") == {"training.learning_rate": "1e-4..1e-1:log"}
    for wrong in ("training.learning_rate", "=1..2", "training.learning_rate="):
        with pytest.raises(ConfigurationError, match=r"expected key=low\.\.high"):
            parse_search(wrong)


@pytest.mark.parametrize(
    ("key", "written", "said"),
    [
        ("training.lerning_rate", "1..2", "tune.search.training.lerning_rate"),
        ("training.imbalance.colour", "a,b", "Extra inputs are not permitted"),
        ("training.learning_rate", "0..1", "greater than 0"),
        ("training.learning_rate", "-1..1:log", "above 0 on a logarithmic scale"),
        ("training.learning_rate", "1..0.1", "the lesser of two limits first"),
        ("training.learning_rate", "1..x", "with two numbers"),
        ("training.learning_rate", "1..2:cubic", "with two numbers"),
        ("training.learning_rate", "0.1", "one value is set with -S"),
        ("training.learning_rate", "0.1,0.1", "two different choices"),
        ("training.learning_rate", "fast,slow", "valid number"),
        ("training.batch_size", "16.0..64.0", "expected a whole number, received 16.0"),
        ("training.optimizer", "adamw,adagrad", "adagrad"),
        ("training.schedule", [["one-cycle"], "cosine"], "expected numbers, words, true, false or null"),
        ("augment.erase", "0..2", "less than or equal to 1"),
        ("training.workers", "1,2", "where and how fast"),
        ("quantize.method", "minmax,entropy", "a trial trains one member network"),
        ("student.epochs", "2..4", "a trial trains one member network"),
        ("members.networks.1.name", "residual,unet", "a trial trains one member network"),
        ("seed", "0..9", "a trial trains one member network"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_its_key(key: str, written: str | list[Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        space_of(searching({key: written}))
    assert said in str(error.value)
    assert key in str(error.value)


def test_all_mistakes_are_told_at_once_and_so_is_that_there_is_nothing_to_search() -> None:
    with pytest.raises(ConfigurationError) as error:
        space_of(searching({"training.learning_rate": "0..1", "quantize.batch": "1..2", "augment.flip": "0..0.5"}))
    assert len(str(error.value).splitlines()) == 2
    with pytest.raises(ConfigurationError, match="expected a key to search"):
        space_of(line())


def test_what_only_the_registries_know_is_asked_of_each_choice() -> None:
    def problems(tried: LineConfig) -> list[str]:
        name = tried.members.networks[0].name
        return [] if name == "residual" else [f"members.networks.0.name: there is no {name}"]

    with pytest.raises(ConfigurationError, match="there is no resnet9000") as error:
        space_of(searching({"members.networks.0.name": "residual,resnet9000"}), problems)
    assert len(str(error.value).splitlines()) == 1


def test_values_are_laid_into_the_line_and_nothing_else_moves() -> None:
    before = line()
    after = with_values(before, {"members.networks.0.arguments.width": 32, "training.imbalance.focal_gamma": 1.5})
    assert value_at(after, "members.networks.0.arguments.width") == 32
    assert after.training.imbalance.focal_gamma == 1.5
    back = {"members.networks.0.arguments.width": 8, "training.imbalance.focal_gamma": 2.0}
    assert with_values(after, back) == before
    with pytest.raises(ConfigurationError, match=r"members\.networks\.7\.name"):
        with_values(before, {"members.networks.7.name": "unet"})


def test_a_range_contains_its_ends_and_a_choice_its_own_kind() -> None:
    assert 0.1 in Range(0.1, 1.0)
    assert 1 in Range(0.5, 1.0)
    assert 0.09 not in Range(0.1, 1.0)
    assert 2.0 not in Range(1, 3)
    assert True not in Range(0, 3)
    assert 1 not in Choices((True, 2))
    assert None in Choices((None, 1.0))
    assert str(parse_domain("x", "1e-4..0.1:log")) == "0.0001..0.1:log"
    assert str(Choices((None, 1.0))) == "null,1.0"


def study(search: dict[str, Any], **changes: Any) -> Study:
    found = searching(search, **changes)
    return Study(found, space_of(found), "classification", Metric("validation_accuracy"))


def test_the_lines_own_values_are_tried_first_where_they_lie_in_the_space() -> None:
    rate = {"training.learning_rate": "1e-4..1e-1:log"}
    assert study(rate).own_values == {"training.learning_rate": 0.002}
    assert study({**rate, "training.batch_size": "16,32"}).own_values is None  # 128 is not among them
    assert study({**rate, "members.networks.0.arguments.blocks": "1,2"}).own_values is None  # not written in the line


def test_a_trial_is_the_first_member_on_one_worker() -> None:
    found = study({"training.batch_size": "16,32"}, training={"workers": 2, "strategy": "sharded"})
    job = found.job({"training.batch_size": 32})
    assert (job.training.batch_size, job.training.workers, job.training.strategy) == (32, 1, "data")
    assert (job.epochs, job.seed) == (3, 0)


def test_asha_cannot_look_after_the_last_epoch() -> None:
    late = searching({"training.batch_size": "16,32"})
    late = late.model_copy(update={"tune": late.tune.model_copy(update={"grace": 4})})
    with pytest.raises(ConfigurationError, match=r"tune\.grace: expected at most 3"):
        Study(late, space_of(late), "classification", Metric("validation_accuracy")).check()
    assert study({"members.epochs": "2..8"}).most_epochs == 8


def test_the_best_is_among_those_that_were_trained_to_their_end() -> None:
    def trial(number: int, state: Any, value: float | None) -> Trial:
        return Trial(number, {}, state, 3, value)

    trials = [trial(0, "finished", 0.8), trial(1, "pruned", 0.99), trial(2, "finished", 0.9), trial(3, "finished", 0.9)]
    higher, lower = best_of(trials, Metric("a")), best_of(trials, Metric("a", "less"))
    assert higher is not None
    assert lower is not None
    assert (higher.number, lower.number) == (2, 0)
    assert best_of([trial(0, "failed", None), trial(1, "stopped", 0.5)], Metric("a")) is None
