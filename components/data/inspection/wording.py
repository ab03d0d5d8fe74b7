"""The kinds of findings in words, and which of them stop the line."""

from __future__ import annotations

from components.data.inspection.findings import Kind

SAYS: dict[Kind, str] = {
    "corrupt": "cannot be decoded to its end",
    "narrow-range": "16-bit pictures that use a low part of their range only",
    "blank": "of one value, or so nearly that nothing is to be seen",
    "duplicate": "the same pixels as another",
    "near-duplicate": "all but the same picture as another",
    "outlier": "far from everything else",
    "label-noise": "the label is probably wrong",
    "missing-group": "no value in a group's column",
    "small-class": "fewer samples than the splits need",
    "confounded-group": "a group that all but tells the class",
    "spelling": "one name in several spellings",
    "several-labels": "several labels in one cell",
}
# What is said of these begins with what they are about; of all others the `id` stands before it.
NAMED: tuple[Kind, ...] = ("confounded-group", "spelling", "several-labels")
# What stops the line; everything else is a warning. Twins do where they are in two splits (`check.leaking`).
ERRORS: tuple[Kind, ...] = ("corrupt", "missing-group", "small-class")
