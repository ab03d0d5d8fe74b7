"""Each engine is asked itself, in a process of its own, whether it would phone home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.environment import NO_PICKLE, NO_PROXY, QUIET, TELEMETRY_OFF, prepare_environment

ROOT = Path(__file__).resolve().parents[2]

# An expression `asked()` that is true where the engine would send something, in the engine's own words.
ENGINES = {
    "mlflow": "from mlflow.telemetry.utils import is_telemetry_disabled\nasked = lambda: not is_telemetry_disabled()",
    "prefect server": "from prefect.settings import Settings\nasked = lambda: Settings().server.analytics_enabled",
    "prefect client": "from prefect._internal.analytics.enabled import is_telemetry_enabled as asked",
    "ray": "from ray._common.usage.usage_lib import usage_stats_enabled as asked",
    "dvc": "from dvc.analytics import is_enabled as asked",
    # It has no question to be asked: what it leaves behind where it collects is looked at.
    "onnxruntime": (
        "import subprocess, sys, tempfile\n"
        "def asked():\n"
        "    with tempfile.TemporaryDirectory() as place:\n"
        "        known = {**os.environ, 'TMPDIR': place}\n"
        "        subprocess.run([sys.executable, '-c', 'import onnxruntime'], env=known, check=True)\n"
        "        return os.listdir(place) != []\n"
    ),
    "evidently": "from evidently.telemetry import event_logger\nasked = event_logger.is_enabled",
}

PROGRAM = """
import os
from components.environment import TELEMETRY_OFF, prepare_environment
prepare_environment()
{question}
with_switches = asked()
for name in TELEMETRY_OFF:
    os.environ.pop(name, None)
print("answers:", with_switches, asked())
"""


def ask(program: str, home: Path) -> str:
    """Run a program as a new user would: no variables but PATH, no settings, not within this repository."""
    clean = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=home, env=clean, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_would_phone_home_were_it_not_for_the_switches(engine: str, tmp_path: Path) -> None:
    answer = ask(PROGRAM.format(question=ENGINES[engine]), tmp_path)
    # The second answer shows that the question is the right one: without the switches it is yes.
    assert answer.strip().splitlines()[-1] == "answers: False True"


GREAT_EXPECTATIONS = """
from importlib.metadata import distribution
from components.environment import prepare_environment
prepare_environment()
found = distribution("great_expectations")
sends = any(name.startswith("posthog") and "extra" not in name for name in found.requires)
if any("great_expectations/analytics/" in str(part) for part in found.files):
    from great_expectations.analytics.config import ENV_CONFIG
    sends = ENV_CONFIG.gx_analytics_enabled
print("sends:", sends)
"""


def test_great_expectations_has_nothing_to_send_with_or_has_it_switched_off(tmp_path: Path) -> None:
    """Its analytics were a module of that name, on top of PostHog; recent releases have neither."""
    assert ask(GREAT_EXPECTATIONS, tmp_path).strip() == "sends: False"


def test_what_the_user_has_set_is_kept_except_what_would_load_a_pickle() -> None:
    environment = {"DO_NOT_TRACK": "yes", "RAY_DEDUP_LOGS": "1", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true"}
    prepare_environment(environment)
    assert environment["DO_NOT_TRACK"] == "yes"
    assert environment["RAY_DEDUP_LOGS"] == "1"
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert set(environment) == {*TELEMETRY_OFF, *QUIET, *NO_PICKLE, *NO_PROXY}
    again = dict(environment)
    prepare_environment(again)
    assert again == environment


@pytest.mark.parametrize("given", ["", "intranet.example", "localhost, intranet.example"])
def test_the_loopback_is_never_asked_through_a_proxy(given: str) -> None:
    # Given: a company's machine, where everything goes through a proxy.
    environment = (
        {"HTTP_PROXY": "http://proxy.example:3128", "NO_PROXY": given} if given else {"HTTP_PROXY": "http://x"}
    )

    prepare_environment(environment)
    prepare_environment(environment)

    for name in ("no_proxy", "NO_PROXY"):
        told = environment[name].split(",")
        assert {"127.0.0.1", "localhost", "::1"} <= set(told)
        assert len(told) == len(set(told))
        assert ("intranet.example" in told) is ("intranet" in given)
