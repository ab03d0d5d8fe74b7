"""What is never written anywhere: passwords, tokens and keys, out of whatever text they have got into.

Text is scrubbed where it leaves the process: messages, logs, records, notices, tags and cards. What counts as a secret
is told by the names of keys and environment variables, and by an address's own form.
"""

from __future__ import annotations

import base64
import os
import re
import urllib.parse
from collections.abc import Mapping, MutableMapping

LEFT_OUT = "…"
LEAST = 6  # characters of a variable's value that are looked for: shorter ones stand in every text

_NAME = re.compile(
    r"(?:(?:^|.)(?:password|passwd|passphrase)|(?:^|[_.-])(?:pwd|secrets?|tokens?|credentials?|auth|auth_?string|webhook|sig"
    r"|signature|sas|(?:(?:access|account|api|private|secret|session|shared|encryption)_?)?key))(?:$|[_.-](?:string|id|value)?$|\d+$)",
    re.IGNORECASE,
)
_PUBLIC = re.compile(r"(?:access_?key_?id|key_?id)$", re.IGNORECASE)  # names an account, as a user's name does
_ACCOUNT = re.compile(r"(?<=://)[^/?#\s'\"<>]*@")  # of an address, also where the password has an @ in it
_PARAMETER = re.compile(r"(?P<before>[?&;](?P<name>[\w.~%-]+)=)[^&;#\s'\"<>)]+")


def is_secret(name: str) -> bool:
    """Whether a key, an option or a variable of this name holds what must not be shown."""
    return bool(_NAME.search(name)) and not _PUBLIC.search(name)


def scrub(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The text without accounts in addresses, secret parameters of them, and values of secret variables."""
    text = _ACCOUNT.sub("", text)
    text = _PARAMETER.sub(lambda found: found["before"] + LEFT_OUT if is_secret(found["name"]) else found[0], text)
    for secret in _secrets(environment):
        text = text.replace(secret, LEFT_OUT)
    return text


def _secrets(environment: Mapping[str, str]) -> list[str]:
    """Values that must not be shown, in the forms in which libraries repeat them, the longest first."""
    found: set[str] = set()
    for name, value in environment.items():
        if is_secret(name) and len(value) >= LEAST and not value.startswith("/"):
            user, _, password = value.partition(":")
            found |= {value, password} if password and user.isidentifier() else {value}
            found.add(base64.b64encode(value.encode(errors="surrogateescape")).decode())
    found |= {urllib.parse.quote(value, safe="") for value in found}
    return sorted((value for value in found if len(value) >= LEAST), key=len, reverse=True)


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
