"""Folders called after classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from components import texts
from components.data.sources.base.faults import some
from components.data.sources.base.rows import split_named
from components.data.sources.layouts.form import Found, Layout, Told, images_below, images_in, keys, split_in
from components.data.sources.layouts.listing import Contents, Folder

_ROLES = {"image", "img", "mask", "label", "annotation", "picture", "bbox", "xml", "json", "txt"}
_STEM = re.compile(r"^([A-Za-z][A-Za-z_ -]*?)[\s._-]*\(?\d+\)?\.\w+$")  # `cat.12.jpg`, `Abyssinian_7.jpg`
_PEEKED = 200  # names of pictures that are looked at for their beginnings


def _classes(contents: Contents, top: Folder) -> Iterator[Found | Told]:
    """`PATH/CLASS/*`, with splits above or below the classes."""
    if not top.folders or are_roles(top):
        return
    splits = [folder for name, folder in top.folders.items() if split_named(name)]
    if images_in(top):
        classes = [folder.name for folder in top.folders.values() if images_in(folder)]
        if len(classes) > 1 and not splits:
            yield Told(
                f"pictures lie beside the folders of classes ({some(classes)}), {images_in(top):,} of them: put "
                "each into "
                "the folder of its class, or elsewhere"
            )
    elif len(splits) == len(top.folders):
        yield from _in_splits(top)
    elif len(splits) > 1 and not any(images_in(folder) for folder in splits) and any(map(images_below, splits)):
        others = [name for name in top.folders if not split_named(name)]
        yield Told(
            f"{some(others)} {_lies(others)} beside the splits {some([folder.name for folder in splits])}: leave "
            f"{'it' if len(others) == 1 else 'them'} out by `--kind folder {keys({'without': others})}`"
        )
    else:
        yield from _labelled(list(top.folders.values()), "one folder per class")


def _in_splits(top: Folder) -> Iterator[Found | Told]:
    splits = list(top.folders.values())
    bare = [split.name for split in splits if images_in(split) and not split.folders]
    rest = [split for split in splits if split.name not in bare]
    if not rest or any(images_in(split) for split in rest) or any(map(are_roles, rest)):
        return
    labelled = [label for split in rest for label in split.folders.values()]
    says = f"one folder per class, in {', '.join(split.name for split in rest)}"
    yield from _labelled(labelled, says, tuple(bare))


def _labelled(labelled: list[Folder], says: str, bare: tuple[str, ...] = ()) -> Iterator[Found | Told]:
    """What folders of classes come to; `bare` are folders of pictures without a class beside them."""
    empty = tuple(
        dict.fromkeys(each.name for each in labelled if not images_below(each) and each.suffixes | _any(each))
    )
    classes = [each for each in labelled if each.name not in empty]
    names = {each.name for each in classes}
    plain = all(not each.folders and images_in(each) == each.suffixes.total() for each in classes)
    if len(names) < 2 or not any(images_below(each) for each in classes) or all(split_in(name)[0] for name in names):
        return
    without = (*bare, *empty)
    note = "".join(
        [
            f"; {some(bare)} {_has(bare)} pictures without a class and {_is(bare)} left out" if bare else "",
            f"; {some(empty)} {_has(empty)} no pictures and {_is(empty)} left out" if empty else "",
        ]
    )
    found = Found("folder", f"{says}{note}", keys={"without": list(without)} if without else {})
    if plain or all(_only_splits(each) for each in classes):
        yield found
        return
    nested = [inner for each in classes for inner in each.folders.values()]
    if nested and not any(images_in(each) for each in classes) and not any(inner.folders for inner in nested):
        yield Told(
            f"folders of pictures in {len(classes):,} folders ({some(sorted(names))}): where these are the classes, "
            f"`--kind folder {keys({'nested': 'join'})}` takes what lies in them, such as {nested[0].path}, for "
            "theirs; "
            "where those within are, give the folder that they lie in"
        )
        return
    yield from _told(classes)


def _told(classes: list[Folder]) -> Iterator[Told]:
    for each in classes:
        if images_in(each) and each.names:
            yield Told(
                f"a class's folder holds nothing but images: move {each.path}/{each.names[0]} elsewhere, or leave all "
                f"such files out by `--kind folder {keys({'faulty': 'skip'})}`"
            )
            return
        if images_in(each) and each.folders:
            inner = next(iter(each.folders.values())).path
            yield Told(
                f"a class's folder holds nothing but images: move what is in {inner}, or take it for its class's by "
                f"`--kind folder {keys({'nested': 'join'})}`"
            )
            return


def _pictures_alone(contents: Contents, top: Folder) -> Iterator[Told]:
    """Pictures, and nothing that says what they are."""
    if len(top.folders) == 1 and not top.suffixes:
        inner = next(iter(top.folders.values()))
        if (
            images_in(inner) == inner.suffixes.total() > 0
            and not inner.folders
            and _named_after(contents, inner) is None
        ):
            yield Told("one class leaves nothing to tell apart: put one folder per class beside it")
            return
    pictured = [folder for folder in top.walk() if images_in(folder)]
    if not pictured or any(folder.names for folder in top.walk()) or _depth(top) > 1:
        return
    if top.folders and (images_in(top) or (not all(map(split_named, top.folders)) and len(top.folders) != 1)):
        return
    named = _named_after(contents, pictured[0])
    if named is not None:
        name = next(iter(named))
        yield Told(
            f"these pictures' names seem to begin with their classes ({some(named)}): put them into one folder per "
            "class, "
            f"for example by `mkdir {texts.shell(name)} && mv {texts.shell(name)}*.* {texts.shell(name)}/`"
        )
        return
    yield Told("these pictures have no labels: put them into one folder per class, or write a manifest beside them")


def _named_after(contents: Contents, folder: Folder) -> list[str] | None:
    """The few words that the pictures' names begin with; None where they begin with many, or one."""
    try:
        names = [each.name for each in islice((contents.base / folder.path).iterdir(), _PEEKED)]
    except OSError:
        return None
    stems = Counter(match[1].strip(" ._-") for name in names if (match := _STEM.match(name)))
    few = [stem for stem, count in stems.most_common() if count > 1]
    return sorted(few) if 1 < len(few) <= max(2, len(names) // 4) and sum(stems.values()) == len(names) else None


def _depth(top: Folder) -> int:
    return max((folder.path.count("/") + 1 if folder.path else 0) for folder in top.walk()) - (
        top.path.count("/") + 1 if top.path else 0
    )


def are_roles(top: Folder) -> bool:
    """Whether its folders are called after what lies in them, pictures or annotations."""
    return {name.lower().rstrip("s") for name in top.folders} <= _ROLES and bool(top.folders)


def _only_splits(label: Folder) -> bool:
    inner = label.folders
    return (
        bool(inner)
        and not label.suffixes
        and all(
            split_named(name) and not each.folders and images_in(each) == each.suffixes.total()
            for name, each in inner.items()
        )
    )


def _any(folder: Folder) -> Counter[str]:
    """Files in it and below, by suffix."""
    return sum((each.suffixes for each in folder.walk()), Counter())


def _lies(names: list[str]) -> str:
    return "lies" if len(names) == 1 else "lie"


def _has(names: tuple[str, ...]) -> str:
    return "has" if len(names) == 1 else "have"


def _is(names: tuple[str, ...]) -> str:
    return "is" if len(names) == 1 else "are"


LAYOUTS = (
    Layout("`CLASS/*.png`", "Keras, torchvision, fastai", _classes),
    Layout("`*.png` and nothing else", "whoever has not labelled yet", _pictures_alone),
)
