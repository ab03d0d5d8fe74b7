"""Each engine is asked itself, in a process of its own, whether it would phone home."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from components.environment import NO_PICKLE, NO_PROXY, QUIET, TELEMETRY_OFF, keep_inside, prepare_environment, who

ROOT = Path(__file__).resolve().parents[2]

# An expression `asked()` that is true where the engine would send something, in the engine's own words.
ENGINES = {
    "mlflow": "from mlflow.telemetry.utils import is_telemetry_disabled\nasked = lambda: not is_telemetry_disabled()",
    "prefect server": "from prefect.settings import Settings\nasked = lambda: Settings().server.analytics_enabled",
    "prefect client": "from prefect._internal.analytics.enabled import is_telemetry_enabled as asked",
    "ray": "from ray._common.usage.usage_lib import usage_stats_enabled as asked",
    "dvc": "from dvc.analytics import is_enabled as asked",
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


# What an engine leaves in the user's home when it is used; without the switches it is what it would tell its makers.
TALKERS = {
    "onnxruntime": "import onnxruntime",
    "openvino": "openvino_tells_nobody()\nimport openvino, openvino.tools.ovc",
}


@pytest.mark.parametrize("engine", TALKERS)
def test_an_engine_without_a_question_leaves_no_trace_of_itself(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    switched = "from components.environment import openvino_tells_nobody, prepare_environment\nprepare_environment()\n"
    plain = "openvino_tells_nobody = lambda: None\n"
    (tmp_path / "with").mkdir(), (tmp_path / "without").mkdir()
    ask(switched + TALKERS[engine], tmp_path / "with")
    # Shown to be the right question; what would be told goes to a port on which nobody listens.
    deaf = "import os\nos.environ |= dict.fromkeys(('http_proxy', 'https_proxy'), 'http://127.0.0.1:9')\n"
    ask(deaf + plain + TALKERS[engine], tmp_path / "without")
    assert list((tmp_path / "with").rglob("*")) == []
    assert [path for path in (tmp_path / "without").rglob("*") if path.is_file()] != []


def test_what_engines_keep_for_themselves_lies_in_the_project(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "USER": "ada", "TORCH_HOME": "/shared/torch"}
    keep_inside(tmp_path / "project", environment)
    assert environment["TORCH_HOME"] == "/shared/torch"
    assert environment["HOME"] == str(tmp_path)
    for name in ("DVC_SITE_CACHE_DIR", "MPLCONFIGDIR", "HF_HUB_CACHE"):
        assert Path(environment[name]).is_relative_to(tmp_path / "project" / ".convoy" / "cache")
    again = dict(environment)
    keep_inside(tmp_path / "project", again)
    assert again == environment


def test_ray_has_a_token_of_its_own_unless_a_cluster_is_named(tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        environment: dict[str, str] = {}
        keep_inside(tmp_path, environment)
        drawn.append(environment["RAY_AUTH_TOKEN"])
    assert len(set(drawn)) == 2
    assert all(len(token) == 64 for token in drawn)
    environment = {"RAY_ADDRESS": "local"}  # the same, in Ray's word
    keep_inside(tmp_path, environment)
    assert environment["RAY_AUTH_TOKEN"] and environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert "RAY_ADDRESS" not in environment
    for said in ({"RAY_ADDRESS": "head:6379"}, {"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN_PATH": "/token"}):
        environment = dict(said)
        keep_inside(tmp_path, environment)
        assert "RAY_AUTH_TOKEN" not in environment


@pytest.mark.parametrize("home", ["/", "", "/nowhere", "/root"])
def test_a_user_without_a_name_and_a_home_has_both(home: str, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root becomes another user")
    program = (
        "import getpass, os, sys; from pathlib import Path\n"
        "from components.environment import keep_inside, who\n"
        "root = Path(sys.argv[1]); root.chmod(0o777); os.setgroups([]); os.setgid(54321); os.setuid(54321)\n"
        "keep_inside(root)\n"
        "print(who(), getpass.getuser(), Path.home())"
    )
    with TemporaryDirectory() as folder:  # pytest's own lets no other user through
        Path(folder).chmod(0o755)
        root = Path(folder) / "project"
        root.mkdir()
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **({"HOME": home} if home else {})}
        command = [sys.executable, "-c", program, str(root)]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["uid-54321", "uid-54321", str(root / ".convoy/home/54321")], done.stderr


def test_a_user_is_known_by_the_name_that_the_machine_has_or_was_told() -> None:
    assert who({"LOGNAME": "ada", "USER": "grace"}) == "ada"
    assert who({"LOGNAME": "", "USER": "grace"}) == "grace"
    assert who({}) == pwd.getpwuid(os.getuid()).pw_name
