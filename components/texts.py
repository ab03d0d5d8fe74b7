"""Text from outside → what it may be where it goes: one function a place, so that it stays readable and harms nowhere.

Names of classes, groups, files, people, their reasons: whoever wrote them knew nothing of terminals, MLflow, Markdown,
shells or spreadsheets. What cannot be carried at all is refused where it comes in (`data.errors.check_name`,
`registry.record`, the configuration). When two names are one is `spelling`'s to say. Imports nothing of this project.
"""

from __future__ import annotations

import hashlib
import html as entities
import json
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

LONGEST = 200  # characters of one value that people are shown: two and a half lines of a terminal
LONGEST_WORD = 1000  # characters without a blank in a whole message: the longest paths are copied, base64 is not
LABEL = 40  # characters beside a plot: more leave no room for the plot
DIGEST = 10  # hexadecimal digits that keep two encoded names apart
KEY = 90  # characters of a part of MLflow's names: three parts and what joins them stay below its 250
FILE = 100  # bytes of a file's name: 255 are allowed, and temporary names beside it are longer

_KNOWN = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's categories of what moves or hides others, or is no character
_JOINERS = "\u200c\u200d"  # within Persian words, Indian letters and emoji they shape what is seen


# -- what people see -------------------------------------------------------------------------------------------------


def visible(text: str) -> str:
    """The text on one line: control characters, bidirectional ones, lone surrogates and the like as escapes."""
    if text.isprintable():
        return text
    return "".join(_seen(text, place) for place in range(len(text)))


def _seen(text: str, place: int) -> str:
    char = text[place]
    if unicodedata.category(char) not in _UNSEEN:
        return char
    around = text[place - 1 : place] + text[place + 1 : place + 2]
    if char in _JOINERS and len(around) == 2 and not around[0].isascii() and not around[1].isascii():
        return char
    return _escape(char)


def _escape(char: str) -> str:
    code = ord(char)
    if char in _KNOWN:
        return _KNOWN[char]
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def shown(text: str, most: int = LONGEST) -> str:
    """One value, in a sentence or a table's cell: `visible`, and cut in the middle where it is long."""
    return _cut(visible(text if len(text) <= 4 * most else _cut(text, 4 * most)), most)


def exact(text: str, most: int = LONGEST) -> str:
    """One value in quotes, with escapes for what looks like something else: odd blanks, loose marks."""
    whole = unicodedata.is_normalized("NFC", text)
    told = "".join(
        char if char == " " or not (char.isspace() or (not whole and unicodedata.combining(char))) else _escape(char)
        for char in text
    )
    return f"'{shown(told, most)}'"


def printable(text: str) -> str:
    """A whole message for a terminal or a log: its line ends stay, all else is `visible`, and endless words are cut."""
    if len(text) <= LONGEST_WORD and text.isprintable():
        return text
    lines = (visible(line) if line else "" for line in text.split("\n"))
    return "\n".join(_WORD.sub(lambda found: _cut(found[0], LONGEST), line) for line in lines)


_WORD = re.compile(rf"\S{{{LONGEST_WORD},}}")


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def as_json(value: Any, *, default: Callable[[Any], Any] | None = None, indent: int | None = 2) -> str:
    """JSON for programs that people read too: what is not `visible` is escaped in JSON's own way."""
    written = json.dumps(value, indent=indent, ensure_ascii=False, default=default)
    return re.sub(r"[^\n -~]", lambda found: found[0] if visible(found[0]) == found[0] else _in_json(found[0]), written)


def _in_json(char: str) -> str:
    return json.dumps(char)[1:-1]


def plot(text: str, most: int = LABEL) -> str:
    """A label for matplotlib, which reads mathematics between dollars."""
    return shown(text, most).replace("$", r"\$")


def html(text: object) -> str:
    """Text between tags, and in attributes."""
    return entities.escape(visible(str(text)), quote=True)


def on_page(value: Any) -> Any:
    """What a template is about to write (jinja's `finalize`): text is `visible`, what is HTML already stays."""
    return visible(value) if type(value) is str else value


def script(written: str) -> str:
    """JSON within a page's `<script>`, which would end where a text in it says so."""
    return written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


# -- Markdown --------------------------------------------------------------------------------------------------------


def markdown(text: str) -> str:
    """Words within a line of Markdown, a table's cell too: they are read as they stand, whatever they look like."""
    escaped = re.sub(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", visible(text))
    escaped = re.sub(r"^(\s*)([#+=-]|\d+[.)])", lambda found: f"{found[1]}{found[2][:-1]}\\{found[2][-1]}", escaped)
    return re.sub(r"://|\bwww\.", lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", escaped)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already: from `markdown`, `code` or our own words."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def unmarked(text: str) -> str:
    """What `markdown` was given, as far as it was visible."""
    made = r"\\([!-/:-@\[-`{-~])|&#(\d+);"
    return re.sub(made, lambda found: found[1] or chr(int(found[2])), text)


def code(text: str) -> str:
    """A name as code in Markdown; where it has what would end the code, or a table's cell, as plain words."""
    return markdown(text) if re.search(r"[`|]|^\s|\s$|^$", text) else f"`{visible(text)}`"


def storable(text: str) -> str:
    """Text for a database: line ends and tabs stay; what some databases refuse, and no page shows, is an escape."""
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" else _seen(text, place) for place, char in enumerate(text))


# -- names elsewhere -------------------------------------------------------------------------------------------------


def mlflow_key(text: str, most: int = KEY, *, dots: bool = True) -> str:
    """A name of a metric or parameter in MLflow, or a part of one between dots. Different texts stay different.

    MLflow takes letters, digits, `_`, `-`, `.`, blanks, `:` and `/`, and reads the name as a path. Names that fit stay
    as they are; others are written as nearly as they can be, with a digest of what they were behind them.
    """
    refused = r"[^\w\-. /:]" if dots else r"[^\w\- /:]"
    fits = len(text) <= most and not re.search(refused, text) and not {"", ".", ".."} & set(text.split("/"))
    if fits and not _marked(text):
        return text
    near = re.sub(r"_{2,}", "_", re.sub(r"[^\w\- :]", "_", text[:most])).strip("_ ") or "name"
    return f"{near[: most - DIGEST - 1]}-{_digest(text)}"


def mlflow_name(*parts: str) -> str:
    """Parts with dots between them: only the last but one may have dots of its own, so none is taken for another."""
    return ".".join(mlflow_key(part, dots=place == len(parts) - 2) for place, part in enumerate(parts))


def mlflow_filter(value: str) -> str | None:
    """The value as MLflow's filters quote it; None where it has quotes of both kinds, for which they know no escape."""
    if "'" not in value:
        return f"'{value}'"
    return None if '"' in value else f'"{value}"'


def file_name(text: str, most: int = FILE) -> str:
    """One component of a path, in ASCII: no folder, no hidden file, no option; different texts stay different.

    Also where the file system does not tell `A` from `a`, or one Unicode form from another.
    """
    plain = re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9_-])?", text) and text.partition(".")[0] not in _RESERVED
    if plain and len(text) <= most and not _marked(text):
        return text
    folded = unicodedata.normalize("NFKD", text[:most]).encode("ascii", "ignore").decode("ascii").lower()
    near = re.sub(r"[^a-z0-9]+", "-", folded).strip("-") or "name"
    return f"{near[: most - DIGEST - 1]}-{_digest(text)}"


_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(10))}
)


def cell(text: str) -> str:
    """A cell of a CSV that people open in a spreadsheet, which runs what begins like a formula; `uncell` undoes it."""
    return f"'{text}" if re.match(r"'*[=+\-@\t\r\n|%]", text) else text


def uncell(text: str) -> str:
    """What `cell` was given."""
    return text[1:] if re.match(r"'+[=+\-@\t\r\n|%]", text) else text


def shell(word: str) -> str:
    """A word of a command that is pasted into a shell: on one line, without a character that is not seen."""
    seen = visible(word)
    if seen == word:
        return shlex.quote(word)
    return "$'" + "".join(_in_shell(word, place) for place in range(len(word))) + "'"


def _in_shell(word: str, place: int) -> str:
    char = word[place]
    if char in "'\\":
        return f"\\{char}"
    seen = _seen(word, place)
    if seen == char:
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file's name that is no UTF-8, as Python has it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if 128 <= code < 256 else seen


def is_word(text: str) -> bool:
    """Whether every reader of YAML, of whichever version, takes the bare text for a text: no number, date or `null`.

    For texts of ASCII letters, digits, `_` and `-` that begin with a letter or digit.
    """
    return text.lower() not in _YAML_WORDS and re.fullmatch(_YAML_NUMBER, text, re.IGNORECASE) is None


_YAML_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_YAML_NUMBER = r"[0-9][0-9_]*(e[+-]?[0-9]+)?|0x[0-9a-f_]+|0o[0-7_]+|0b[01_]+|[0-9]{4}-[0-9]{2}-[0-9]{2}"


def _marked(text: str) -> bool:
    """Whether a text looks as if its end were a digest of ours: it gets one too, and is nobody else's then."""
    return re.search(rf"-[0-9a-f]{{{DIGEST}}}$", text) is not None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST]
