"""What is never written anywhere: passwords, tokens and keys, out of whatever text they have got into.

Text is scrubbed where it leaves the process: messages, logs, records, notifications, tags and cards. What counts as a
secret is told by the names of keys and environment variables, and by an address's own form.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import re
import sys
import traceback
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TextIO

LEFT_OUT = "…"
LEAST = 6  # characters of a variable's value that are looked for: shorter ones stand in every text

_NAME = re.compile(
    r"(?:(?:^|.)(?:password|passwd|passphrase)|(?:^|[_.-])(?:pwd|pass|pat|secrets?|tokens?|credentials?|auth|auth_?string"
    r"|webhook|sig|signature|sas|(?:(?:access|account|api|private|secret|session|shared|encryption)_?)?key))"
    r"(?:$|[_.-](?:string|id|value)?$|\d+$)",
    re.IGNORECASE,
)
_CHANNEL = re.compile(r"(?:^|[_.-])(?:webhook|hook|slack|email)[_.-]?(?:url|uri|address)$", re.IGNORECASE)
_PUBLIC = re.compile(r"(?:access_?key_?id|key_?id)$", re.IGNORECASE)  # names an account, as a user's name does
_ACCOUNT = re.compile(r"(?<=://)[^/?#\s'\"<>]*@")  # of an address, also where the password has an @ in it
_ASSIGNED = re.compile(r"(?:^|[;&,\s])(?P<name>[\w.-]+)=(?P<value>[^;&,\s]+)")  # in a database's or a store's settings
_LONG = 20  # characters of a name in an address from which on it is taken for a token
_PARAMETER = re.compile(r"(?P<before>[?&;](?P<name>[\w.~%-]+)=)[^&;#\s'\"<>)]+")


def is_secret(name: str) -> bool:
    """Whether a key, an option or a variable of this name holds what must not be shown."""
    return bool(_NAME.search(name) or _CHANNEL.search(name)) and not _PUBLIC.search(name)


def scrub(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The text without accounts in addresses, secret parameters of them, and values of secret variables."""
    # First what is known as a whole: of an address that is a secret itself, its path is one too.
    plain, escaped = _secrets(tuple(environment.items()))
    for secret in plain:
        text = text.replace(secret, LEFT_OUT)
    for anchor, pattern in escaped:
        if anchor in text:
            text = pattern.sub(LEFT_OUT, text)
    text = _ACCOUNT.sub("", text)
    return _PARAMETER.sub(lambda found: found["before"] + LEFT_OUT if is_secret(found["name"]) else found[0], text)


@lru_cache(maxsize=4)  # of an environment that seldom changes, asked for every line that is written
def _secrets(environment: tuple[tuple[str, str], ...]) -> tuple[list[str], list[tuple[str, re.Pattern[str]]]]:
    """Values that must not be shown, in the forms in which libraries repeat them, the longest first.

    And patterns of those that JSON, Markdown or Python's own words may write otherwise (`_escaped`).
    """
    found: set[str] = set()
    for name, value in environment:
        found |= _passwords(value) | _assigned(value)
        if is_secret(name) and len(value) >= LEAST and not value.startswith("/"):
            user, _, password = value.partition(":")
            found |= {value, password} if password and user.isidentifier() else {value}
            # Where a service's address is the secret, libraries name its host and the rest of it apart.
            path = "/" + value.partition("://")[2].partition("/")[2]
            found |= {path, path.partition("?")[0]}
    found |= {_coded(f"{user}:{password}") for user, password in _accounts(dict(environment))}
    values = sorted((value for value in found if len(value) >= LEAST), key=len, reverse=True)
    forms = sorted({form for value in values for form in _forms(value)}, key=len, reverse=True)
    return forms, [_escaped(value) for value in values if not _PLAIN.fullmatch(value)]


def _passwords(value: str) -> set[str]:
    """The password of an address with an account, whatever variable it stands in: a proxy's, a database's."""
    account = _ACCOUNT.search(value)
    if account is None:
        return set()
    user, _, password = account[0].removesuffix("@").partition(":")
    plain = urllib.parse.unquote(account[0].removesuffix("@"))
    token = {user} if not password and len(user) >= _LONG else set()
    return {password, urllib.parse.unquote(password), _coded(plain), *token}


def _assigned(value: str) -> set[str]:
    """Secrets in settings that are one text: `host=db password=…`, `AccountName=me;AccountKey=…`."""
    return {found["value"] for found in _ASSIGNED.finditer(value) if is_secret(_SNAKE.sub("_", found["name"]))}


_SNAKE = re.compile(r"(?<=[a-z])(?=[A-Z])")  # between the words of `AccountKey`


def _accounts(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name and password where each has a variable of its own; clients send both as one."""
    found = []
    for name, password in environment.items():
        before, word, after = name.upper().rpartition("PASSWORD")
        users = [environment.get(f"{before}{user}") for user in ("USERNAME", "USER")] if word and not after else []
        found += [(user, password) for user in users if user and len(password) >= LEAST]
    return found


def _forms(value: str) -> set[str]:
    """A value as it is, and as it stands in addresses and in headers."""
    quoted = {urllib.parse.quote(value, safe=safe) for safe in ("", "/", "/:@")} | {urllib.parse.quote_plus(value)}
    return {value, _coded(value), html.escape(value), *quoted}


_PLAIN = re.compile(r"[A-Za-z0-9]+")


def _escaped(value: str) -> tuple[str, re.Pattern[str]]:
    """A pattern of the value as it stands in quotes, in quotes within quotes, in Markdown and so on, where each time
    some of its letters are escaped; and its longest part that never is, by which one sees that it is not there."""
    parts = [re.escape(letter) if _PLAIN.match(letter) else _once_or_escaped(letter) for letter in value]
    return max(_PLAIN.findall(value), key=len, default=""), re.compile("".join(parts))


def _once_or_escaped(letter: str) -> str:
    if letter == "\\":
        return r"\\+"
    codes = {
        each.lstrip("\\")
        for each in (json.dumps(letter)[1:-1], repr(letter)[1:-1], ascii(letter)[1:-1])
        if each != letter
    }
    written = "|".join(re.escape(code) for code in sorted(codes) if code)
    return rf"(?:\\*{re.escape(letter)}|\\+(?:{written}))" if written else rf"\\*{re.escape(letter)}"


def _coded(value: str) -> str:
    return base64.b64encode(value.encode(errors="surrogateescape")).decode()


def watch_logs() -> None:
    """Have every record of this process's logs scrubbed as it is made, whoever writes it and wherever it goes.

    Idempotent. Its words and the story of its exception are made texts then.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "scrubs", False):
        return

    def scrubbed(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = make(*arguments, **options)
        try:
            said = record.getMessage()
        except (TypeError, ValueError, KeyError):  # words that do not fit their own pattern: both are kept
            said = f"{record.msg} {record.args!r}"
        record.msg, record.args = scrub(said), ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = scrub("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return record

    scrubbed.scrubs = True  # type: ignore[attr-defined]  # a function may have attributes
    logging.setLogRecordFactory(scrubbed)


class _Scrubbed:
    """A text stream that lets no secret through; all else is the stream's own business."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(scrub(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def errors_without_secrets() -> Iterator[None]:
    """Whatever error leaves the block has none in its words: engines keep those, and the error itself."""
    try:
        yield
    except BaseException as error:
        _clean(error)
        raise


_OF_SYSTEM = ("strerror", "filename", "filename2")  # texts of an OSError


def _clean(error: BaseException) -> None:
    """Scrub an error's texts, and those of the errors that it came of."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.args = tuple(scrub(part) if isinstance(part, str) else part for part in one.args)
        for name in (*vars(one), *_OF_SYSTEM):
            if isinstance(value := getattr(one, name, None), str):
                setattr(one, name, scrub(value))
        if hasattr(one, "__notes__"):
            one.__notes__ = [scrub(str(note)) for note in one.__notes__]
        waiting += [one.__cause__, one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]


def watch_streams() -> None:
    """Have scrubbed what anybody in this process prints or warns of, the user's own code included. Idempotent."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Scrubbed):
            setattr(sys, name, _Scrubbed(stream))


_ADDRESSES = {  # a variable that names a server: those that take its account
    "MLFLOW_TRACKING_URI": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
    "PREFECT_API_URL": ("PREFECT_API_AUTH_STRING",),
}


def part_accounts(environment: MutableMapping[str, str] = os.environ) -> None:
    """`http://user:password@host` in a server's variable → the address, and the account where engines look for it.

    So the account works, which the engines themselves do not take from an address, and is in no message of theirs.
    An account that is set in its own variables is kept. Idempotent.
    """
    for variable, names in _ADDRESSES.items():
        address = environment.get(variable, "")
        scheme, _, rest = address.partition("://")
        place, slash, path = rest.partition("/")
        account, at, host = place.rpartition("@")
        if scheme not in ("http", "https") or not at:
            continue
        environment[variable] = f"{scheme}://{host}{slash}{path}"
        user, _, password = account.partition(":")
        values = [urllib.parse.unquote(part) for part in (user, password)]
        for name, value in zip(names, values if len(names) > 1 else [":".join(values)], strict=True):
            environment.setdefault(name, value)
