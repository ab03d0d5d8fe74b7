"""Layouts and formats that no source reads, each with the way to one that is: a row of `LAYOUTS` moves to the source
that learns to read it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from components.data.sources.base.formats import is_image
from components.data.sources.layouts.form import Layout, Told, images_below
from components.data.sources.layouts.listing import Contents, Folder

# Suffixes of what is opened by other programs → what it is, and what to do.
_FORMATS = {
    (".tfrecord", ".tfrecords"): ("TensorFlow's records", "write the pictures into one folder per class"),
    (".h5", ".hdf5"): ("HDF5", "save images and labels as NumPy arrays, `numpy.savez`"),
    (".mat",): ("MATLAB's", "save images and labels as NumPy arrays, `scipy.io.loadmat` and `numpy.savez`"),
    (".pkl", ".pickle"): ("Python's pickles, which could run any program and are never opened", "save `numpy.savez`"),
    (".mdb", ".lmdb"): ("LMDB", "write the pictures into one folder per class"),
    (".rec",): ("MXNet's records", "write the pictures into one folder per class"),
    (".dcm", ".dicom"): ("DICOM", "convert the pictures to PNG of 16 bits, and write a manifest beside them"),
    (".nii",): ("NIfTI's volumes", "save slices as PNG of 16 bits, and write a manifest beside them"),
    (".xlsx", ".xls", ".ods"): ("a spreadsheet", "save the table as CSV"),
    (".heic", ".heif"): ("HEIC, as telephones write it", "convert the pictures to JPEG, for example with ImageMagick"),
    (".mp4", ".avi", ".mov", ".mkv", ".webm"): ("video", "save the frames that are meant as pictures"),
    (".pt", ".pth", ".safetensors", ".onnx"): ("a model's weights", "give the folder of its data"),
}
_KNOWN = {suffix: said for suffixes, said in _FORMATS.items() for suffix in suffixes}
_BATCH = re.compile(r"data_batch_\d|test_batch|batches\.meta")


def _formats(contents: Contents, top: Folder) -> Iterator[Told]:
    """Files that other programs open, where there is nothing else."""
    if images_below(top):
        return
    suffixes: Counter[str] = sum((folder.suffixes for folder in top.walk()), Counter())
    names = [name for folder in top.walk() for name in folder.names]
    if any(_BATCH.fullmatch(name) for name in names):
        yield Told(
            "these are CIFAR's batches for Python, pickles, which could run any program and are never opened: "
            "save images "
            "(N, H, W, 3) and labels as NumPy arrays, `numpy.savez`"
        )
    for suffix, _ in suffixes.most_common():
        if suffix in _KNOWN:
            yield _told(suffix)
            return


def _of_file(contents: Contents, name: str) -> Told | None:
    suffix = PurePosixPath(name).suffix.lower()
    if is_image(name):
        return Told("one picture is no data set: give the folder that its class's folder lies in")
    return _told(suffix) if suffix in _KNOWN else None


def _told(suffix: str) -> Told:
    what, way = _KNOWN[suffix]
    return Told(f"{suffix} is {what}, and is not read: {way}")


LAYOUTS = (Layout("TFRecord, HDF5, pickles, DICOM, spreadsheets, …", "other programs", _formats, _of_file),)
