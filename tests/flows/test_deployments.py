"""The one file of what runs: read back from a Prefect server as it was written, and every mistake told at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config import ConfigurationError, RenamedWarning
from flows.schedules import declared, deployments, zombies

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What is looked at: the flow, the recipes, params.yaml."""
    (tmp_path / "flows").mkdir()
    for name in ("line.py", "promotion.py"):
        shutil.copy(ROOT / "flows" / name, tmp_path / "flows")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    (tmp_path / "infra").mkdir()
    return tmp_path


def write(root: Path, **values: Any) -> None:
    (root / declared.FILE).write_text(yaml.safe_dump(values), encoding="utf-8")


def entry(**values: Any) -> dict[str, Any]:
    return {"entrypoint": "flows/line.py:line", "work_pool": "pool", **values}


def test_the_projects_own_file_is_right() -> None:
    values = declared.read(ROOT)
    flows = deployments.checked(ROOT, values)
    assert flows["nightly"].name == "pipeline"
    assert all(channel.address.isidentifier() for channel in values.notifications)  # a variable's name


def test_mistakes_of_form_are_told_together(root: Path) -> None:
    write(
        root,
        work_pools={"pool": {"limit": 0}},
        deployments={"x": entry(overlap={"then": "wait"})},
        notifications=[{"kind": "pigeon", "address": "A"}],
    )
    with pytest.raises(ConfigurationError) as told:
        declared.read(root)
    for key in ("work_pools.pool.limit", "deployments.x.overlap.then", "notifications.0.kind"):
        assert f"deployments.yaml: {key}: expected" in str(told.value)


def test_what_the_file_called_its_channels_and_occasions_is_understood(root: Path) -> None:
    channel = {"kind": "slack", "address": "A"}
    write(root, notices=[{**channel, "of": ["rejection", "failure"]}])
    with pytest.warns(RenamedWarning) as told:
        (found,) = declared.read(root).notifications
    assert found.of == ("gates-failed", "failure")
    assert [str(each.message).partition(";")[0] for each in told] == [
        "notices is called notifications now",
        "of: rejection is called gates-failed now",
    ]


@pytest.mark.parametrize("address", ["https://hooks.example/services/T0/s3cret", "s3cret-token", "", "Ä_URL"])
def test_an_address_where_its_variable_is_to_be_named_is_told_without_it(root: Path, address: str) -> None:
    write(root, notifications=[{"kind": "slack", "address": address}])
    with pytest.raises(ConfigurationError) as told:
        declared.read(root)
    said = str(told.value)
    assert "deployments.yaml: notifications.0.address: expected the name of an environment variable" in said
    assert "s3cret" not in said and "hooks" not in said and "since it may be a secret" in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"work_pool": "other"}, "work_pool: expected one of pool, received 'other'"),
        ({"schedules": [{"cron": "61 3 * * *"}]}, "schedules.0.cron: expected minute hour day month weekday"),
        ({"schedules": [{"cron": "0 3 * * *", "timezone": "Mars"}]}, "schedules.0.timezone: expected a time zone"),
        ({"entrypoint": "flows/line.py:nothing"}, "entrypoint: expected a flow of flows/line.py, received 'nothing'"),
        ({"entrypoint": "flows/line.py:opened"}, "entrypoint: expected a flow of flows/line.py, received 'opened'"),
        ({"entrypoint": "flows/gone.py:line"}, "entrypoint: expected FILE.py:FLOW"),
        (
            {
                "entrypoint": "flows/promotion.py:promotion",
                "parameters": {"name": "a"},
                "schedules": [{"cron": "0 3 * * *"}],
            },
            "parameters: expected by, reason too, since it is started by a schedule",
        ),
        (
            {"entrypoint": "flows/promotion.py:promotion", "parameters": {"nam": "a"}},
            "parameters.nam: expected no such key",
        ),
        ({"parameters": {"recipe": "none"}}, "parameters: recipe: expected one of digits"),
        ({"parameters": {"recip": "digits"}}, "parameters: "),
        ({"parameters": {"overrides": ["student.epoch=3"]}}, "parameters: line.student.epoch: expected no such key"),
    ],
)
def test_a_mistake_that_only_the_flow_or_the_recipe_shows_is_told_before_a_server_is(
    root: Path, values: dict[str, Any], said: str
) -> None:
    write(root, work_pools={"pool": {}}, deployments={"x": entry(parameters={"recipe": "digits"}) | values})
    with pytest.raises(ConfigurationError) as told:
        deployments.checked(root, declared.read(root))
    assert f"deployments.yaml: deployments.x.{said}" in str(told.value)


def test_what_is_written_is_what_the_server_has_and_again_after_a_change(root: Path, prefect_server: None) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy

    nightly = entry(
        parameters={"recipe": "digits"},
        schedules=[{"cron": "30 2 * * 1-5", "timezone": "Europe/Paris"}],
        overlap={"limit": 2, "then": "cancel"},
    )
    write(root, work_pools={"pool": {"limit": 3}}, deployments={"nightly": nightly, "by-hand": entry()})

    told = deployments.deploy(root)

    assert "pipeline/nightly in the pool pool: '30 2 * * 1-5' (Europe/Paris)" in told
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name("pipeline/nightly")
        (schedule,) = found.schedules
        assert (schedule.schedule.cron, schedule.schedule.timezone) == ("30 2 * * 1-5", "Europe/Paris")
        assert (found.work_pool_name, found.parameters) == ("pool", {"recipe": "digits"})
        assert found.global_concurrency_limit is not None and found.global_concurrency_limit.limit == 2
        assert found.concurrency_options is not None
        assert found.concurrency_options.collision_strategy == ConcurrencyLimitStrategy.CANCEL_NEW
        assert found.entrypoint == "flows/line.py:line"
        assert str(root) in str(found.pull_steps)
        assert found.job_variables["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"  # of a worker's runs
        assert client.read_work_pool("pool").concurrency_limit == 3
        assert client.read_deployment_by_name("pipeline/by-hand").schedules == []
        assert len(client.read_automations_by_name(zombies.NAME)) == 1

        nightly["schedules"] = [{"cron": "0 4 * * *"}]
        write(root, work_pools={"pool": {"limit": 1}}, deployments={"nightly": nightly})
        again = deployments.deploy(root)

        (schedule,) = client.read_deployment_by_name("pipeline/nightly").schedules
        assert schedule.schedule.cron == "0 4 * * *"
        assert client.read_work_pool("pool").concurrency_limit == 1
        assert len(client.read_automations_by_name(zombies.NAME)) == 1
        assert any("pipeline/by-hand is registered and no longer in" in each for each in again)
        for name in ("nightly", "by-hand"):
            client.delete_deployment(client.read_deployment_by_name(f"pipeline/{name}").id)
