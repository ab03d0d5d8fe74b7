"""Writes docs/reference/ from the code: configuration, sources, commands, metrics, networks, and names in MLflow.

`python -m infra.references` writes the pages, `--check` says which are not what it would write. What a key means is
the comment beside its field or above it, which costs no step its result: code is compared without comments.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tokenize
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from components.members import Member, Registry

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
WRITTEN = "<!-- Written by `python -m infra.references` from the code; change it there. -->"
Row = tuple[str, ...]
KEYS = ("key", "value", "default", "what it says")
DISCRIMINATORS = ("kind", "gate")  # keys that say which of several sections it is


# -- what stands in the code ------------------------------------------------------------------------------------------


@cache
def comments(file: str) -> dict[int, tuple[str, bool]]:
    """Line → its comment, and whether it stands alone there."""
    found = {}
    with tokenize.open(file) as lines:
        for token in tokenize.generate_tokens(lines.readline):
            if token.type == tokenize.COMMENT:
                alone = not token.line[: token.start[1]].strip()
                found[token.start[0]] = (token.string.lstrip("# ").rstrip(), alone)
    return found


@cache
def tree(file: str) -> ast.Module:
    return ast.parse(Path(file).read_text(encoding="utf-8"))


def beside(file: str, first: int, last: int) -> str:
    """The comment above a statement, as far as it reaches without a gap, and then the one behind it."""
    known, above = comments(file), []
    line = first - 1
    while line in known and known[line][1]:
        above.insert(0, known[line][0])
        line -= 1
    behind = [known[line][0] for line in range(first, last + 1) if line in known]
    return " ".join([*above, *behind])


def of_fields(owner: type) -> dict[str, str]:
    """Field → what is said of it, of a class and those it inherits from; a class's own words count."""
    said: dict[str, str] = {}
    for each in reversed([each for each in owner.__mro__ if each not in (BaseModel, object)]):
        file = inspect.getsourcefile(each) or ""
        body = next(n for n in ast.walk(tree(file)) if isinstance(n, ast.ClassDef) and n.name == each.__name__).body
        for node in body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                words = beside(file, node.lineno, node.end_lineno or node.lineno)
                said[node.target.id] = words or said.get(node.target.id, "")
    return said


def of_arguments(function: Callable[..., Any]) -> dict[str, str]:
    """Argument → what is said of it."""
    file = inspect.getsourcefile(function) or ""
    found = (n for n in ast.walk(tree(file)) if isinstance(n, ast.FunctionDef) and n.name == function.__name__)
    arguments = next(found).args
    return {each.arg: beside(file, each.lineno, each.end_lineno or each.lineno) for each in arguments.args}


def first_paragraph(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())


def whole(text: str | None) -> str:
    """Every paragraph, each on a line."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text or "").split("\n\n"))


# -- how it is written ------------------------------------------------------------------------------------------------


def cell(text: str) -> str:
    """As it stands in a cell of a table of Markdown: outside of code, an angle bracket would begin a tag."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    parts = [part if part.startswith("`") else part.replace("<", "&lt;").replace("*", r"\*") for part in parts]
    return "".join(parts).replace("|", r"\|")


def sentence(text: str, about: str = "") -> str:
    """What is said of something, in a cell; what is Python's becomes YAML's. Raises ValueError where nothing is."""
    if not text:
        raise ValueError(f"{about}: expected a comment beside it, or a help text, that says what it means; found none")
    for python, plain in (("None", "`null`"), ("True", "`true`"), ("False", "`false`")):
        text = re.sub(rf"(?<![`\w]){python}(?=[:, ]|$)", plain, text)
    return cell(re.sub(r"^[a-z]+(?=[ ,;]|$)", lambda word: word[0].capitalize(), text))


def table(heading: Row, rows: list[Row]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in lines)


def page(title: str, about: str, *parts: str) -> str:
    return "\n\n".join([WRITTEN, f"# {title}", about, *parts]).rstrip() + "\n"


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def code(value: object) -> str:
    """A value as YAML has it, in one line."""
    if isinstance(value, frozenset | set):
        value = sorted(value)
    text = yaml.safe_dump(_plain(value), default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return f"`{text.strip().removesuffix('...').strip()}`"


def _plain(value: object) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return {str(key): _plain(each) for key, each in value.items()} if isinstance(value, Mapping) else value


def number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.12g}"


def kinds(schema: Mapping[str, Any], refer: Callable[[str], str]) -> str:
    """What a JSON schema allows, in words; `refer` writes a reference to another section."""
    several = schema.get("anyOf", schema.get("oneOf"))
    if several:
        return " or ".join(dict.fromkeys(kinds(each, refer) for each in several))
    if "$ref" in schema:
        return refer(str(schema["$ref"]).rsplit("/", 1)[-1])
    if "const" in schema or "enum" in schema:
        return ", ".join(map(code, schema.get("enum", [schema.get("const")])))
    written: dict[Any, Callable[[], str]] = {
        "integer": lambda: "whole number" + _limits(schema),
        "number": lambda: "number" + _limits(schema),
        "boolean": lambda: "`true`, `false`",
        "null": lambda: "`null`",
        "string": lambda: f"text like `{schema['pattern']}`" if "pattern" in schema else "text",
        "array": lambda: _list(schema, refer),
        "object": lambda: f"{_keys(schema)} with {kinds(schema.get('additionalProperties', {}), refer)}",
    }
    return written.get(schema.get("type"), lambda: "anything")()


def _limits(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f", {number(low)} to {number(high)}"
    said = [("from ", low), ("to ", high), ("above ", above), ("below ", below)]
    words = " and ".join(f"{word}{number(value)}" for word, value in said if value is not None)
    return f", {words}" if words else ""


def _list(schema: Mapping[str, Any], refer: Callable[[str], str]) -> str:
    each = [kinds(item, refer) for item in schema.get("prefixItems", [schema.get("items", {})])]
    if schema.get("maxItems") == 0:
        return "`[]`"
    least = f" of {len(each)}" if "prefixItems" in schema else " of one or more" if schema.get("minItems") else ""
    return f"list{least}: {', '.join(dict.fromkeys(each))}"


def _keys(schema: Mapping[str, Any]) -> str:
    known = schema.get("propertyNames", {}).get("enum")
    return f"keys ({', '.join(map(code, known))})" if known else "keys"


# -- configuration ----------------------------------------------------------------------------------------------------


class Sections:
    """Sections of the configuration, each told once, under the key where it is first met."""

    def __init__(self) -> None:
        self.named: dict[type, str] = {}  # section → its heading
        self.parts: list[str] = []

    def add(self, owner: type, key: str, heading: str, without: frozenset[str] = frozenset()) -> None:
        """A section, and then all that are in it. `without`: keys that are told elsewhere."""
        self.named[owner] = heading
        fields = {name: field for name, field in fields_of(owner).items() if name not in without}
        inner: list[tuple[str, list[tuple[type, str]]]] = []
        for name, field in fields.items():
            below = f"{key}.{name}" if key else name
            new = [(each, tag) for each, tag in sections_in(field.annotation) if each not in self.named]
            listed = {below for _, tag in new if tag and is_list(field.annotation)}
            self.named.update({each: below if below in listed or not tag else f"{below}: {tag}" for each, tag in new})
            inner += [(below, new)] if new else []
        rows = [row for name in fields for row in [self._row(owner, name, key)]]
        self.parts.append("\n\n".join([f"## {heading}", whole(owner.__doc__), *([table(KEYS, rows)] if rows else [])]))
        for below, new in inner:
            if any(self.named[each] == below and tag for each, tag in new):
                self._alternatives(below, new)
                continue
            for each, tag in new:
                self.add(each, below, self.named[each], frozenset(DISCRIMINATORS if tag else ()))

    def _alternatives(self, key: str, several: list[tuple[type, str]]) -> None:
        """A list of sections that are addressed by their names."""
        about = [(f"`{tag}`", sentence(first_paragraph(each.__doc__))) for each, tag in several]
        rows = [
            self._row(each, name, f"{key}.{tag}")
            for each, tag in several
            for name in fields_of(each)
            if name not in DISCRIMINATORS
        ]
        told = (table((f"`{key}`", "what it asks"), about), table(KEYS, rows))
        self.parts.append("\n\n".join([f"## {key}", "A list, in which each may be once:", *told]))

    def _row(self, owner: type, name: str, key: str) -> Row:
        field = fields_of(owner)[name]
        known = {each.__name__: each for each, _ in sections_in(field.annotation)}
        schema = schema_of(owner)["properties"][name]

        def refer(section: str) -> str:
            heading = self.named[known[section]]
            return f"[{heading}](#{anchor(heading)})"

        inner = [first_paragraph(each.__doc__) for each in known.values()]
        says = of_fields(owner)[name] or (inner[0] if len(inner) == 1 else "")
        return (
            f"`{key}.{name}`" if key else f"`{name}`",
            cell(kinds(schema, refer)),
            _default(field),
            sentence(says, f"{owner.__name__}.{name}"),
        )


def fields_of(section: type) -> Mapping[str, FieldInfo]:
    return section.model_fields  # type: ignore[attr-defined, no-any-return]


def sections_in(annotation: Any) -> Iterator[tuple[type, str]]:
    """Every section that a field may hold, with its discriminator where it is one of several."""
    from components.config import Section

    if inspect.isclass(annotation) and issubclass(annotation, Section):
        said = next((annotation.model_fields[key] for key in DISCRIMINATORS if key in annotation.model_fields), None)
        yield annotation, "" if said is None else str(get_args(said.annotation)[0])
    for each in get_args(annotation):
        yield from sections_in(each)


@cache
def schema_of(section: type) -> dict[str, Any]:
    return TypeAdapter(section).json_schema()


def is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(map(is_list, get_args(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "its own" if isinstance(field.default, BaseModel) else code(field.default)


def configuration() -> str:
    from components.config.catalogue import DatasetConfig
    from components.config.line import LineConfig
    from components.config.policy import PolicyConfig

    line = Sections()
    line.add(LineConfig, "", "line")
    line.add(PolicyConfig, "policy", "policy")
    entry = Sections()
    entry.named.update({each: "source" for each, _ in sections_in(DatasetConfig.model_fields["source"].annotation)})
    entry.add(DatasetConfig, "", "datasets.NAME", frozenset({"source"}))
    return page(
        "Configuration",
        "Every key of `params.yaml` and of the recipes. `-S KEY=VALUE` takes the keys of `line:` as they stand here; "
        "`convoy config show -r RECIPE`\nsays which values a recipe comes to, and where each is from. Keys that are "
        "not here are refused. What a `default` of *its own* means stands in\nthe section that the value names. "
        "What `source:` of a data set may say: [Sources](sources.md).",
        "\n\n".join(line.parts),
        "\n\n".join(entry.parts),
    )


def sources() -> str:
    from components.config import Located
    from components.members import SOURCES

    shared = Sections()
    shared.add(Located, "source", "Every source that lies somewhere")
    parts, rows = [], []
    for file in own(SOURCES):
        owner: type[Any] = get_type_hints(SOURCES.load(file).read)["source"]
        (kind,) = get_args(owner.model_fields["kind"].annotation)
        located = issubclass(owner, Located)
        told = Sections()
        elsewhere = frozenset(Located.model_fields) if located else frozenset()
        told.add(owner, "source", str(kind), elsewhere | {"kind"})
        behind = f"[{shared.named[Located].lower()}](#{anchor(shared.named[Located])})"
        parts.append(told.parts[0] + (f"\n\nAnd the keys of {behind}." if located else ""))
        rows.append((f"[`{kind}`](#{anchor(kind)})", cell(first_paragraph(owner.__doc__))))
    return page(
        "Sources",
        "What `source:` of a data set may say, by its `kind`. Examples of each, which the tests build and read: "
        "[Sources](../data/sources.md), [Tables](../data/tables.md),\n[Masks](../data/masks.md), "
        "[Objects](../data/objects.md).",
        table(("`source.kind`", "what it reads"), rows),
        *shared.parts,
        *parts,
    )


def own(registry: Registry) -> list[str]:
    """The names of the members that are files here; those of other packages stand in their own documentation."""
    return [name for name in registry.names() if Member(registry, name).extension is None]


# -- commands ---------------------------------------------------------------------------------------------------------


def commands() -> str:
    import typer

    from flows.cli import app

    root: Any = typer.main.get_command(app)
    parts, rows = [], []
    for words, command in _commands(root, ("convoy",)):
        name = " ".join(words)
        rows.append((f"[`{name}`](#{anchor(name)})", cell(_first_sentence(command.help))))
        parts.append(f"## {name}\n\n{whole(command.help)}\n\n{_parameters(command)}".rstrip())
    return page(
        "Command line",
        "Every command with its arguments and options, as `convoy COMMAND --help` has them. What options with one "
        "name have in common, exit codes and\nwhat `--json` writes: [Commands](../commands.md).",
        table(("command", "what it does"), rows),
        *parts,
    )


def _commands(command: Any, words: Row) -> Iterator[tuple[Row, Any]]:
    for name, each in sorted(command.commands.items()):
        if each.hidden:
            continue
        if hasattr(each, "commands"):
            yield from _commands(each, (*words, name))
        else:
            yield (*words, name), each


def _first_sentence(text: str | None) -> str:
    return re.split(r"(?<=[.?!]) ", first_paragraph(text))[0]


def _parameters(command: Any) -> str:
    rows = []
    for each in command.params:
        if getattr(each, "hidden", False) or each.name == "help":
            continue
        option = each.param_type_name == "option"
        names = ", ".join(f"`{name}`" for name in [*each.opts, *each.secondary_opts])
        name = names if option else f"`{each.metavar or each.name.upper()}`"
        rows.append((name, _taken(each), _given(each), sentence(each.help or "", f"{command.name} {each.name}")))
    return table(("option or argument", "value", "default", "what it does"), rows) if rows else ""


def _taken(parameter: Any) -> str:
    if getattr(parameter, "is_flag", False):
        return "–"
    annotation = parameter.type_descriptor.annotation
    (one,) = get_args(annotation) if get_origin(annotation) in (list, tuple) else (annotation,)
    choices = get_args(one) or ([each.value for each in one] if issubclass(one, Enum) else ())
    named = "" if parameter.metavar is None or parameter.param_type_name == "argument" else f"`{parameter.metavar}`"
    said = ", ".join(f"`{choice}`" for choice in choices) or named or PLAIN.get(one, "text")
    limits = _limits({"minimum": parameter.min, "maximum": parameter.max})
    return f"{cell(said)}{limits}{', several' if one is not annotation else ''}"


PLAIN = {int: "whole number", float: "number", Path: "a path", datetime: "a time"}


def _given(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is True:
        return f"`{parameter.opts[0]}`"
    return f"`{value}`" if value or (value == 0 and value is not False) else "–"


# -- tasks and networks -----------------------------------------------------------------------------------------------


def metrics() -> str:
    from components.members import TASKS
    from components.tasks import registry

    parts = []
    for name in own(TASKS):
        task = registry.get(name)
        rows = [
            (f"`{each.name}`", each.better, each.unit or "–", sentence(each.says.removesuffix("; less is better")))
            for each in task.spec.metrics
        ]
        about = (
            f"{first_paragraph(type(task).__doc__)} The first metric is the primary one; gates and allowances go by it."
        )
        parts.append(f"## {name}\n\n{about}\n\n{table(('metric', 'better', 'unit', 'what it means'), rows)}")
    return page(
        "Metrics",
        "What each task is judged by. On the test split, each has an interval and is `test.NAME` in MLflow, "
        "`test.COLUMN.GROUP.NAME` of a group\n([What MLflow holds](../mlflow.md)). A *share* lies between 0 and 1; "
        "allowances are then differences, and of anything else parts of what there was.\nNumbers with units are "
        "judged in these units: one value's in its own, several together in deviations and each by itself in its own.",
        *parts,
    )


def networks() -> str:
    from components.members import FAMILIES
    from components.models import registry
    from components.models.parts.layers import Parts

    shared = of_fields(Parts)
    parts, rows = [], []
    for name in own(FAMILIES):
        entry = getattr(sys.modules[registry.home(name)], name)
        said = of_arguments(entry)
        with_parts = "parts" in inspect.signature(entry).parameters
        told = [
            (
                f"`{key}`",
                _annotated(annotation),
                code(default),
                sentence(said.get(key) or shared.get(key, ""), f"{name}.{key}"),
            )
            for key, (annotation, default) in registry.arguments(name).items()
            if key in said
        ]
        takes, gives = registry.takes(name), registry.gives(name)
        rows.append((f"[`{name}`](#{anchor(name)})", takes, gives, cell(first_paragraph(entry.__doc__))))
        behind = "\n\nAnd the arguments of [all compact networks](#all-compact-networks)." if with_parts else ""
        heading = table(("argument", "value", "default", "what it says"), told)
        parts.append(f"## {name}\n\n{whole(entry.__doc__)}\n\n{heading}{behind}")
    common = [
        (f"`{key}`", _annotated(annotation), code(default), sentence(shared[key]))
        for key, (annotation, default) in registry.arguments("residual").items()
        if key in shared
    ]
    short = [(f"`{name}`", f"`{network}`") for name, network in sorted(registry.ALIASES.items())]
    return page(
        "Networks",
        "Names for `members.networks` and `student.network`, each with its `arguments`. What they are for, "
        "torchvision's and timm's networks, and pretrained\nweights: [Networks](../models.md).",
        table(("family", "takes", "gives", "what it is"), rows),
        *parts,
        f"## All compact networks\n\n{table(('argument', 'value', 'default', 'what it says'), common)}",
        "## Short names\n\nBesides these, any network is `torchvision:NAME` or `timm:NAME`.\n\n"
        + table(("name", "network"), short),
    )


def _annotated(annotation: Any) -> str:
    return cell(kinds(TypeAdapter(annotation).json_schema(), str))


# -- names in MLflow --------------------------------------------------------------------------------------------------


def mlflow() -> str:
    from components.registry.names import FILES, METRICS, RUNS, TAGS

    tags = [(f"`{each.name}`", ", ".join(each.every), ", ".join(each.some), sentence(each.says)) for each in TAGS]
    return page(
        "Names in MLflow",
        "What is called how in MLflow. Programs may rely on these names: a test holds them against what a real run "
        "has written. What is meant by them, and\nwhere to look: [What MLflow holds](../mlflow.md).",
        "## Runs\n\nEach model has an experiment of its name. The tag `kind` says what a run is:\n\n"
        + table(("`kind`", "is", "named"), [(f"`{kind}`", sentence(says), cell(named)) for kind, says, named in RUNS]),
        "## Tags\n\n`version` means a version of a registered model, which has tags as well.\n\n"
        + table(("tag", "on every", "on some", "what it says"), tags),
        "## Metrics\n\nOf each task: [Metrics](metrics.md).\n\n"
        + table(("metric", "of", "what"), [(cell(name), cell(of), sentence(says)) for name, of, says in METRICS]),
        "## Artifacts\n\n"
        + table(("file", "of", "what"), [(cell(name), cell(of), sentence(says)) for name, of, says in FILES]),
    )


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "sources.md": sources,
    "command-line.md": commands,
    "metrics.md": metrics,
    "networks.md": networks,
    "mlflow.md": mlflow,
}


def stale(folder: Path = FOLDER) -> list[str]:
    """Pages that are not what the code says, and files there that nothing writes."""
    made = {name: write() for name, write in PAGES.items()}
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """Write the pages; with `--check`, only say which are not current: 1 where there are any."""
    if arguments == ["--check"]:
        for name in (wrong := stale()):
            sys.stderr.write(f"docs/reference/{name}: is not what the code says; `make references` writes it\n")
        return 1 if wrong else 0
    FOLDER.mkdir(exist_ok=True)
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
