"""No password, token or key is written anywhere, in whatever form a library repeats it."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import sys
import urllib.parse
import warnings
from collections.abc import Callable, Iterator

import pytest

from components import texts
from components.secrecy import errors_without_secrets, is_secret, part_accounts, scrub, watch_logs, watch_streams

PASSWORD = "p@ss:w0rd#1"  # noqa: S105


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:4200/api failed", "http://host:4200/api failed"),
        ("http://me:p@ss@host/api", "http://host/api"),
        ("http://token@host", "http://host"),
        ("postgresql+psycopg2://me:secret@db/mlflow: no", "postgresql+psycopg2://db/mlflow: no"),
        ("'s3://key:secret@bucket/x'", "'s3://bucket/x'"),
        ("https://h/x?X-Amz-Signature=abc&page=2", "https://h/x?X-Amz-Signature=…&page=2"),
        ("https://h/x?page=2&sig=abc%3D#top", "https://h/x?page=2&sig=…#top"),
        ("https://h/x?api_key=abc;token=def", "https://h/x?api_key=…;token=…"),
        ("https://h/page@2 and me@example.org", "https://h/page@2 and me@example.org"),
        ("a@b://c", "a@b://c"),
        ("data/x.png: expected key=value, received 3", "data/x.png: expected key=value, received 3"),
    ],
)
def test_addresses_lose_their_accounts_and_secret_parameters(text: str, shown: str) -> None:
    assert scrub(text, {}) == shown


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_PASSWORD", "RAY_AUTH_TOKEN", "MY_WEBHOOK", "AWS_SECRET_ACCESS_KEY"])
def test_values_of_secret_variables_are_in_no_form_of_a_text(name: str) -> None:
    # given
    environment = {name: PASSWORD, "HOME": "/home/me"}
    forms = [PASSWORD, urllib.parse.quote(PASSWORD, safe=""), base64.b64encode(PASSWORD.encode()).decode()]
    # when / then
    for form in forms:
        assert scrub(f"before {form} after, /home/me", environment) == "before … after, /home/me"


def test_the_password_of_an_account_is_one_without_its_user_too() -> None:
    environment = {"PREFECT_API_AUTH_STRING": "convoy:0123456789"}
    assert scrub("convoy:0123456789, 0123456789, convoy", environment) == "…, …, convoy"


def test_short_values_and_places_are_left() -> None:
    # given: a token of one letter would take every such letter out of every text
    environment = {"A_TOKEN": "a", "RAY_AUTH_TOKEN_PATH": "/home/me/token", "B_SECRET": "/home/me/token"}
    # when / then
    assert scrub("a banana in /home/me/token", environment) == "a banana in /home/me/token"


@pytest.mark.parametrize(
    "name",
    [
        *("password", "PGPASSWORD", "db_password", "passwd", "passphrase", "pwd", "secret", "client_secret", "token"),
        *("access_token", "session-token", "sas_token", "sig", "X-Amz-Signature", "key", "account_key", "api_key"),
        *("apikey", "private_key", "AWS_SECRET_ACCESS_KEY", "credentials", "auth", "auth_string", "SLACK_WEBHOOK"),
        *("CONVOY_WEBHOOK_URL", "CONVOY_SLACK_URL", "CONVOY_EMAIL_URL"),
    ],
)
def test_what_is_secret_is_told_by_its_name(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "endpoint_url",
            "anon",
            "region",
            "TOKENIZERS_PARALLELISM",
            "keyboard",
            "monkey",
            "key_count",
            "RAY_AUTH_MODE",
        ),
        *("RAY_AUTH_TOKEN_PATH", "AWS_ACCESS_KEY_ID", "author", "compass", "signed", "HOME", "keys_per_page"),
        *("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "CONVOY_EMAIL", "HTTP_PROXY"),
    ],
)
def test_what_only_looks_alike_is_not(name: str) -> None:
    assert not is_secret(name)


def test_an_account_in_an_address_is_put_where_the_engines_look_for_it() -> None:
    # given
    environment = {
        "MLFLOW_TRACKING_URI": "https://me:p%40ss@mlflow.example:5000/base",
        "PREFECT_API_URL": "http://me:p@ss@host:4200/api",
    }
    # when
    part_accounts(environment)
    part_accounts(environment)
    # then
    assert environment == {
        "MLFLOW_TRACKING_URI": "https://mlflow.example:5000/base",
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": "p@ss",
        "PREFECT_API_URL": "http://host:4200/api",
        "PREFECT_API_AUTH_STRING": "me:p@ss",
    }


@pytest.mark.parametrize("uri", ["postgresql://me:secret@db/x", "sqlite:///a@b/x.db", "http://host/a@b", ""])
def test_what_is_no_server_with_an_account_is_left(uri: str) -> None:
    environment = {"MLFLOW_TRACKING_URI": uri}
    part_accounts(environment)
    assert environment == {"MLFLOW_TRACKING_URI": uri}


def test_an_account_that_is_set_apart_is_kept() -> None:
    environment = {"PREFECT_API_URL": "http://a:b@host/api", "PREFECT_API_AUTH_STRING": "me:mine"}
    part_accounts(environment)
    assert environment == {"PREFECT_API_URL": "http://host/api", "PREFECT_API_AUTH_STRING": "me:mine"}


def test_the_password_of_any_address_is_one_wherever_it_stands() -> None:
    environment = {"HTTPS_PROXY": "http://me:p%40ss-word@proxy:3128", "DATABASE": "postgresql://db/x"}
    basic = base64.b64encode(b"me:p@ss-word").decode()
    assert scrub(f"Basic {basic}, p%40ss-word, p@ss-word, proxy", environment) == "Basic …, …, …, proxy"


def test_of_a_services_address_the_part_that_libraries_name_apart_is_one_too() -> None:
    environment = {"CONVOY_SLACK_URL": "https://hooks.example/services/T0/B0/abcdef"}
    said = "HTTPSConnectionPool(host='hooks.example', port=443): url: /services/T0/B0/abcdef (refused)"
    assert scrub(said, environment) == "HTTPSConnectionPool(host='hooks.example', port=443): url: … (refused)"
    environment = {"CONVOY_WEBHOOK_URL": "https://hooks.example/abcdef?token=0123456"}
    for said in (environment["CONVOY_WEBHOOK_URL"], "at /abcdef?token=0123456", "at /abcdef"):
        assert "abcdef" not in scrub(said, environment) and "0123456" not in scrub(said, environment)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a logger writes, in a process whose logs are watched and that has a password."""
    monkeypatch.setenv("A_PASSWORD", PASSWORD)
    make, stream = logging.getLogRecordFactory(), io.StringIO()
    handler, log = logging.StreamHandler(stream), logging.getLogger("of an engine")
    log.addHandler(handler)
    watch_logs()
    watch_logs()
    yield stream
    logging.setLogRecordFactory(make)
    log.removeHandler(handler)


def test_no_log_has_one_in_its_words_their_parts_or_the_story_of_an_error(logged: io.StringIO) -> None:
    log = logging.getLogger("of an engine")
    log.error("no %s at %s, %d times", PASSWORD, "http://me:secret@host/x", 3)
    try:
        raise RuntimeError(f"refused: {PASSWORD}")
    except RuntimeError:
        log.exception("it failed")
    said = logged.getvalue()
    assert PASSWORD not in said and "secret" not in said
    assert "no … at http://host/x, 3 times" in said
    assert "it failed" in said and "RuntimeError: refused: …" in said and "Traceback" in said


def test_a_record_that_does_not_fit_its_pattern_is_kept_without_one(logged: io.StringIO) -> None:
    logging.getLogger("of an engine").error("%d of them", PASSWORD)
    assert logged.getvalue() == "%d of them ('…',)\n"


NASTY = "pa ss'\"wo\\rd#_*é\n1"


@pytest.mark.parametrize(
    "write",
    [
        repr,
        ascii,
        json.dumps,
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: repr({"DB_PASS": text}),
        lambda text: repr(f"{{'x': {text!r}}}"),
        lambda text: json.dumps({"said": repr({"x": text})}),
        lambda text: json.dumps({"said": json.dumps({"x": text})}),
        html.escape,
        texts.markdown,
        urllib.parse.quote_plus,
    ],
)
def test_a_value_is_known_however_often_its_letters_were_escaped(write: Callable[[str], str]) -> None:
    environment = {"DB_PASS": NASTY, "A_TOKEN": "0123-456"}
    said = scrub(f"before {write(NASTY)} after", environment)
    assert said.startswith("before ") and said.endswith(" after")
    assert "ss" not in said and "rd" not in said


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=me;AccountKey=abc/def==;EndpointSuffix=x", "abc/def=="),
        ("SETTINGS", "host=db user=shop password=topsecret dbname=x", "topsecret"),
        ("SENTRY_DSN", "https://0123456789abcdef0123@o1.ingest.example/42", "0123456789abcdef0123"),
        ("GITLAB_PAT", "glpat-0123456789", "glpat-0123456789"),
        ("DB_PASS", "topsecret", "topsecret"),
    ],
)
def test_secrets_within_other_settings_are_known_by_themselves(name: str, value: str, secret: str) -> None:
    assert secret not in scrub(f"it said {secret} and {value}", {name: value})
    assert "ingest.example" in scrub("o1.ingest.example", {name: value})


def test_an_account_in_two_variables_is_known_as_clients_send_it() -> None:
    environment = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "lovelace"}
    assert scrub(f"Basic {base64.b64encode(b'ada:lovelace').decode()}", environment) == "Basic …"


def test_an_error_leaves_a_block_without_any_and_so_do_those_it_came_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_PASSWORD", PASSWORD)

    class OwnError(Exception):
        def __init__(self, message: str) -> None:
            super().__init__()
            self.message = message

    with pytest.raises(OwnError) as caught, errors_without_secrets():
        try:
            try:
                raise OSError(5, f"no {PASSWORD}", f"/x/{PASSWORD}")
            except OSError as first:
                raise RuntimeError(f"told {PASSWORD}", 1) from first
        except RuntimeError:
            raise OwnError(f"known {PASSWORD}")  # noqa: B904 — its context is what counts
    own = caught.value
    assert own.message == "known …" and own.__context__ is not None and own.__context__.args == ("told …", 1)
    cause = own.__context__.__cause__
    assert isinstance(cause, OSError) and PASSWORD not in str(cause) + repr(cause)


def test_what_is_printed_and_warned_of_has_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_PASSWORD", PASSWORD)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back afterwards
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    watch_streams()
    watch_streams()
    print("printed", PASSWORD)
    sys.stderr.writelines([f"{PASSWORD}\n"])
    # As Python shows a warning; here pytest keeps them instead.
    sys.stderr.write(warnings.formatwarning(f"warned {PASSWORD}", UserWarning, "x.py", 1))
    said = capsys.readouterr()
    assert said.out == "printed …\n" and PASSWORD not in said.err and "warned …" in said.err
    assert sys.stdout.isatty() is False
