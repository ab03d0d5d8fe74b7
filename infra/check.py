"""Checks infra/ without a container engine: hadolint, the Compose Specification's schema, and rules of our own.

The rules: ports are published on loopback unless the operator says otherwise, no secret has a value in a file, images
are pinned, whoever is waited for says when it is ready, and what the image copies exists. Starting the services is
left to those who have an engine.
"""

from __future__ import annotations

import ast
import ipaddress
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

FOLDER = Path(__file__).resolve().parent
SENSITIVE = r"[\w.-]*(?:password|passwd|secret|token|credential|auth_string|private_?key|api_?key)[\w.-]*"
# NAME=value, NAME: value, "name": "value", --name=value; neither psql's :'variable' nor the start of a list.
ASSIGNED = re.compile(
    rf"(?<![\w.${{-])(?P<key>{SENSITIVE})[\"']?\s*(?!:')[:=]\s*[\"']?(?P<value>[^\s\"',;\[{{][^\s\"',;]*)",
    re.IGNORECASE,
)
NAMED = re.compile(rf"{SENSITIVE}['\"\]]*$", re.IGNORECASE)
DEFAULTED = re.compile(rf"\$\{{{SENSITIVE}:?-(?P<value>[^}}]+)", re.IGNORECASE)
IN_ADDRESS = re.compile(r"://[^\s/:@$]*:(?P<value>[^\s/@]+)@")
IN_SQL = re.compile(r"\bpassword\s+'(?!\{)", re.IGNORECASE)  # `'{…}'` is Python's, and names a variable
WAYS = (ASSIGNED, DEFAULTED, IN_ADDRESS)
KEY_MATERIAL = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b")
# The shell's and Compose's references, without a default, since a default is a value.
REFERENCE = re.compile(r"\$(?:\w+|\{\w+(?::?\?[^}]*)?)[}\])]*")
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<kind>:?[-?+])(?P<word>[^}]*))?\}|\$(?P<bare>[A-Za-z_]\w*)")
NOT_SCANNED = {"compose-spec.json", "check.py", ".env"}  # the schema, these patterns, and the operator's own values
COMPLETED, HEALTHY = "service_completed_successfully", "service_healthy"


def problems(folder: Path = FOLDER) -> list[str]:
    """Every breach, as `file: what is wrong and what is expected`; an empty list where all is well."""
    compose, containerfile = folder / "compose.yaml", folder / "Containerfile"
    found = [*linted(containerfile), *copied(containerfile, folder.parent), *secrets(folder)]
    try:
        content = yaml.safe_load(compose.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        return [*found, f"{compose.name}: expected YAML: {error}"]
    schema = list(against_schema(content))
    if schema:  # the rules below take the form for granted
        return [*found, *(f"{compose.name}: {problem}" for problem in schema)]
    rules = (ports, namespaces, images, waiting, secret_keys)
    return [*found, *(f"{compose.name}: {problem}" for rule in rules for problem in rule(content["services"]))]


def linted(containerfile: Path) -> Iterator[str]:
    """What hadolint says at `warning` or above, and a last user that is root."""
    program = Path(sys.executable).parent / "hadolint"
    if not program.exists():
        yield f"{containerfile.name}: expected hadolint at {program}, found none; install requirements-dev.lock"
        return
    command = [str(program), "--no-color", "--failure-threshold", "warning", str(containerfile)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        yield f"{containerfile.name}: hadolint: {(done.stdout + done.stderr).strip()}"
    users = re.findall(r"^USER\s+(\S+)", containerfile.read_text(encoding="utf-8"), re.MULTILINE)
    if not users or users[-1].split(":")[0] in {"root", "0"}:
        yield f"{containerfile.name}: expected a last USER that is not root, received {users[-1:] or 'none'}"


def copied(containerfile: Path, root: Path) -> Iterator[str]:
    """Files that a COPY from the build context names and the project does not have."""
    for line in re.findall(r"^COPY\s+(.+)$", containerfile.read_text(encoding="utf-8"), re.MULTILINE):
        words = line.split()
        if not words[0].startswith("--from"):
            for source in words[:-1]:
                if not (root / source).exists():
                    yield f"{containerfile.name}: COPY {source}: expected it in the project, found none"


def secrets(folder: Path) -> Iterator[str]:
    """Values of passwords, tokens and keys in any file; references to the environment are what is expected."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name in NOT_SCANNED or path.suffix == ".pyc":
            continue
        text = path.read_text(encoding="utf-8")
        program = path.suffix == ".py"
        found = list(written_in(text)) if program else []
        for number, line in enumerate(text.splitlines(), start=1):
            for match in (each for way in ((IN_ADDRESS,) if program else WAYS) for each in way.finditer(line)):
                if not REFERENCE.fullmatch(match["value"]):
                    found.append((number, match[0]))
            if IN_SQL.search(line) or KEY_MATERIAL.search(line):
                found.append((number, line.strip()[:40]))
        for number, shown in found:
            yield f"{path.name}:{number}: expected no secret's value, received {shown!r}; use a variable"
    if ".env" not in (folder / ".gitignore").read_text(encoding="utf-8").split():
        yield ".gitignore: expected `.env`, so that the operator's secrets are not committed"
    if (folder.parent / ".git").exists():
        listed = ["git", "-C", str(folder), "ls-files", ".env"]
        if subprocess.run(listed, capture_output=True, text=True, check=True).stdout.strip():
            yield ".env: expected it outside of git; remove it from the index, and change every secret in it"


def written_in(program: str) -> Iterator[tuple[int, str]]:
    """Line and name of what a Python program gives a sensitive name as a text of its own; calls and variables may."""
    for node in ast.walk(ast.parse(program)):
        given: list[tuple[ast.expr | str | None, ast.expr | None]] = []
        if isinstance(node, ast.Assign):
            given = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign):
            given = [(node.target, node.value)]
        elif isinstance(node, ast.Dict):
            given = list(zip(node.keys, node.values, strict=True))
        elif isinstance(node, ast.keyword):
            given = [(node.arg, node.value)]
        elif isinstance(node, ast.arguments):
            names = [*node.posonlyargs, *node.args][::-1]
            given = [(name.arg, value) for name, value in zip(names, node.defaults[::-1], strict=False)]
            given += [(name.arg, value) for name, value in zip(node.kwonlyargs, node.kw_defaults, strict=True)]
        for target, value in given:
            name = target if isinstance(target, str) else ast.unparse(target).strip("'\"") if target else ""
            text = value.value if isinstance(value, ast.Constant) else None
            if isinstance(value, ast.Constant) and text and not isinstance(text, bool) and NAMED.search(name):
                yield value.lineno, f"{name} = {text}"


def against_schema(content: object) -> Iterator[str]:
    schema = json.loads((FOLDER / "compose-spec.json").read_text(encoding="utf-8"))
    for error in Draft7Validator(schema).iter_errors(content):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'top level'}: {error.message[:300]}"


def resolved(text: object) -> str:
    """`text` as Compose reads it where the operator has set nothing; required variables become their names."""

    def value(match: re.Match[str]) -> str:
        if match["kind"] in {"-", ":-"}:
            return resolved(match["word"])
        return f"<{match['name']}>" if match["kind"] in {"?", ":?"} else ""

    return VARIABLE.sub(value, str(text))


def ports(services: dict[str, Any]) -> Iterator[str]:
    for name, service in services.items():
        for port in service.get("ports", []):
            host = published_on(port)
            if not loopback(host):
                shown = host or "every address"
                yield f"services.{name}.ports: {port!r}: expected loopback unless CONVOY_BIND is set, received {shown}"


def published_on(port: object) -> str:
    """The host's address that a port is published on; empty for all of them."""
    if isinstance(port, dict):
        return resolved(port.get("host_ip", ""))
    text = resolved(port)
    bracketed = re.match(r"\[(?P<host>[^\]]*)\]:", text)
    if bracketed:
        return bracketed["host"]
    parts = text.split(":")
    return parts[0] if len(parts) == 3 else ""


def loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def namespaces(services: dict[str, Any]) -> Iterator[str]:
    """On the host's network a service needs no `ports` to be reachable; privileged, it needs no permission at all."""
    for name, service in services.items():
        for key in ("network_mode", "pid", "ipc"):
            if resolved(service.get(key, "")) == "host":
                yield f"services.{name}.{key}: expected one of its own, received the host's"
        if service.get("privileged"):
            yield f"services.{name}.privileged: expected false, received {service['privileged']}"


def images(services: dict[str, Any]) -> Iterator[str]:
    for name, service in services.items():
        image = resolved(service.get("image", ""))
        if "@sha256:" in image:
            continue
        tag = image.rsplit("/", 1)[-1].partition(":")[2]
        if not tag or tag == "latest" or tag.startswith("<"):
            yield f"services.{name}.image: expected a tag or digest that stays the same, received {image or 'none'!r}"


def waiting(services: dict[str, Any]) -> Iterator[str]:
    for name, service in services.items():
        needs = service.get("depends_on", {})
        for other, how in ({n: {} for n in needs} if isinstance(needs, list) else needs).items():
            place = f"services.{name}.depends_on.{other}"
            if other not in services:
                yield f"{place}: expected one of {', '.join(services)}, found no such service"
                continue
            condition = how.get("condition")
            if condition == HEALTHY and not services[other].get("healthcheck", {}).get("test"):
                yield f"{place}: expected a healthcheck in services.{other}, found none"
            elif condition == COMPLETED and services[other].get("restart", "no") != "no":
                yield f'{place}: expected `restart: "no"` in services.{other}, which otherwise never completes'
            elif condition not in {HEALTHY, COMPLETED}:
                yield f"{place}: expected {HEALTHY} or {COMPLETED}, received {condition}"


def secret_keys(services: dict[str, Any]) -> Iterator[str]:
    """Secrets in the environment that Compose would start without: they must be required."""
    for name, service in services.items():
        environment = service.get("environment", {})
        if isinstance(environment, list):
            environment = dict(entry.partition("=")[::2] for entry in environment)
        for key, value in environment.items():
            if re.fullmatch(rf"{SENSITIVE}", key, re.IGNORECASE) and not re.fullmatch(r"\$\{\w+:\?[^}]*\}", str(value)):
                yield f"services.{name}.environment.{key}: expected ${{VARIABLE:?why}}, received something else"


def main() -> int:
    """Print what is wrong; 0 where nothing is."""
    found = problems()
    for problem in found:
        sys.stderr.write(f"infra/{problem}\n")
    if not found:
        sys.stdout.write("infra: the Containerfile is linted, compose.yaml is valid, and every rule holds\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
