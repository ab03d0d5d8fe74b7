"""`datasets:` of `params.yaml`: what each data set is made of, what it must be, and what happens to what is not."""

from __future__ import annotations

import operator
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from components.config.inputs import ImageDeclaration, TextDeclaration
from components.config.mask_values import Ignored, MaskValues, PixelValue, agreeing, alone
from components.config.renamed import Renamed, current
from components.config.scenes import SceneDeclaration, ScenesSource
from components.config.section import Few, Fraction, Section, Seed, Share, ascending, different
from components.members import SOURCES

# -- sources --------------------------------------------------------------------------------------------------------


class FashionMnistSource(Section):
    """Fashion-MNIST's four idx files, from the first place that has them."""

    kind: Literal["fashion-mnist"]
    mirror: str | None = None  # a directory or an address that holds the four .gz files; asked before the public one


class DigitsSource(Section):
    """scikit-learn's 1,797 hand-written digits of 8×8: inside the package, no download."""

    kind: Literal["digits"]


class DigitScenesSource(Section):
    """Scenes composed of scikit-learn's digits over noise, several to a scene, with exact masks and boxes."""

    kind: Literal["digit-scenes"]
    scenes: Annotated[int, Field(ge=1, le=1_000_000)] = 600  # how many
    size: Annotated[int, Field(ge=16, le=512)] = 32  # side of the square scene, pixels
    digits: Annotated[tuple[Few, Few], AfterValidator(ascending)] = (2, 4)  # fewest, most a scene
    noise: Share = 0.15  # standard deviation of the background noise, as a share of full scale
    # masks: the digit of every pixel. boxes: that of each digit, and the share of it that no other covers. values: how
    # many digits there are, how large they are, how far they are tilted.
    take: Literal["masks", "boxes", "values"] = "masks"
    tilt: Annotated[float, Field(ge=0.0, le=90.0)] = 0.0  # ± degrees by which all digits of a scene are turned
    seed: Seed = 0  # of all that is drawn by chance


class Located(Section):
    """A source that lies somewhere: a file, a folder, or an archive of one (zip, tar, tar.gz, …), here or at a URL."""

    path: str  # relative paths are the project's; URLs are fsspec's: https://, s3://, ssh://, …
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None  # of the file or archive at `path`
    checksums: str | None = None  # of a folder: a file in it, as `sha256sum` writes it; every file it names is checked
    # fsspec's options for the URL, such as `endpoint_url`. Secrets belong into the environment, never in here.
    options: dict[str, str | Annotated[int, Field(ge=-(2**31), lt=2**31)] | bool] = Field(default={})
    # join: of classes, and of a group's values, that differ only in how they are written (`cat`, `Cat `), the most
    # frequent spelling counts for all (`components.spelling`); the source is read once more for it.
    spellings: Literal["keep", "join"] = "keep"
    # Classes whose samples are left out; in masks, their pixels become the first class's, the background.
    without: Annotated[tuple[str, ...], AfterValidator(different)] = ()


# What happens to what cannot be used: a box outside of its picture, a mask of another size, a file that is not there.
# refuse: reading ends, and all of it is told. skip: it is left out, counted and told.
Faulty = Literal["refuse", "skip"]
OfSplits = Annotated[dict[Literal["train", "validation", "test"], str], Field(min_length=1)]


class ClassFolders(Located):
    """A source of one folder per class."""

    # Folders in a class's folder. join: their files are the class's too, and the folder's name is `group_folder`.
    nested: Literal["refuse", "join"] = "refuse"
    # classes: every file is a sample of its folder's class. labels: what lies under one name in several classes'
    # folders is one sample, with all of their labels.
    take: Literal["classes", "labels"] = Field(default="classes", exclude_if="classes".__eq__)
    faulty: Faulty = "refuse"  # files in a class's folder that are named otherwise, or cannot be read


class FolderSource(ClassFolders):
    """One folder per class: `PATH/CLASS/*.png`, with folders of splits above or below them where there are some."""

    kind: Literal["folder"]


def _without_units(numbers: object) -> object:
    """A validator: columns alone are numbers that have no unit."""
    return dict.fromkeys(numbers, "") if isinstance(numbers, list | tuple) else numbers


BoxForm = Literal["xywh", "xyxy", "cxcywh"]  # left, top, width, height; left, top, right, bottom; centre, width, height
BoxUnit = Literal["pixels", "shares", "percent"]  # of the picture's width and height: 0 to 1, 0 to 100


class ManifestSource(Located):
    """A table with one row per sample (CSV, TSV, JSON or Parquet). Columns `group_*` are groups without being named."""

    kind: Literal["manifest"]
    table: str | OfSplits | None = None  # below `path`: the table, or one per split; None: the only one there is
    # Folder that paths are relative to, itself relative to the manifest's; None: that one. Of several, the first that
    # has the file.
    root: str | Annotated[tuple[str, ...], AfterValidator(different)] | None = None
    prefix: str | None = None  # what paths start with and files here do not, such as another machine's folder
    image: str = "path"  # column: a path below `root`, or the encoded bytes themselves (Parquet)
    text: str | None = Field(default=None, exclude_if=lambda name: name is None)  # column of texts, instead of `image`
    encoding: Literal["base64"] | None = None  # of a column of texts that are the pictures themselves
    # Column: the class's name or number. Several: one column per class, of which one is 1 and the others are 0.
    target: str | Annotated[tuple[str, ...], AfterValidator(different)] = "target"
    # Column of any number of labels per row, or none, instead of `target`: a list (Parquet, JSON), or a text with
    # `separator` between the names. Several: one column per label, 1 where a row has it, else 0.
    labels: str | Annotated[tuple[str, ...], AfterValidator(different)] | None = Field(
        default=None, exclude_if=lambda name: name is None
    )
    # What is between the names in a cell of `labels`, such as ";". None: a cell is a list, or one name.
    separator: Annotated[str, Field(min_length=1, max_length=10)] | None = Field(
        default=None, exclude_if=lambda text: text is None
    )
    mask: str | None = None  # column: a path to a PNG mask (or its bytes), instead of `target`
    # Columns of numbers that are to be answered, instead of `target`: each with its unit, "" where it has none. A list
    # of columns stands for numbers without units.
    numbers: Annotated[dict[str, str], BeforeValidator(_without_units)] = Field(default={}, exclude_if=operator.not_)
    # Columns of a box, four: a row is an object then, of the class in `target`, and a picture has as many rows as
    # objects, or one whose box is empty. Or a column of lists: each object has a class and a box.
    box: tuple[str, str, str, str] | tuple[()] = Field(default=(), exclude_if=operator.not_)
    # column: a list of the objects of a picture, each with a class and a box
    objects: str | None = Field(default=None, exclude_if=operator.not_)
    # column: a list of the entities of a text, each with its start, the character behind its end, and a class
    spans: str | None = Field(default=None, exclude_if=operator.not_)
    # How boxes are written. None: of columns, and of objects whose keys say so, xyxy; of lists of four numbers COCO's
    # own, xywh. In pixels.
    boxes: BoxForm | None = Field(default=None, exclude_if=operator.not_)
    unit: BoxUnit | None = Field(default=None, exclude_if=operator.not_)  # of boxes; None: pixels
    # Of the classes that masks (by pixel value, the background first) or targets number; None: the numbers themselves.
    names: Annotated[tuple[str, ...], AfterValidator(different)] | None = None
    # Of masks whose pixels are other numbers than 0, 1, 2, …: the value of each of `names`, such as [0, 255], or
    # several of one, such as [[0, 255], 1]; of masks in colours, such as ["#000000", "#ff0000"]. Others are faults.
    values: MaskValues | None = None
    # Of masks: a value, or several, whose pixels are neither learnt nor judged, such as 255; or colours, as `values`.
    ignore: Ignored = Field(default=(), exclude_if=operator.not_)
    id: str | None = None  # column: a name that is unique; None: the image's path
    split: str = "split"  # column, where there is one: train, validation, test or nothing
    time: str | None = None  # column: when the image was taken; a number or ISO 8601
    groups: Annotated[tuple[str, ...], AfterValidator(different)] = ()  # further columns: NAME becomes group_NAME
    faulty: Faulty = "refuse"  # rows without a class or a file, of one picture and two classes, of a mask that misfits

    @model_validator(mode="after")
    def _goes_together(self) -> ManifestSource:
        if self.values is not None and self.mask is None:
            raise ValueError("`values` beside `mask`")
        if self.ignore and self.mask is None:
            raise ValueError("`ignore` beside `mask`")
        agreeing(self.names, self.values, self.ignore)
        if self.mask is not None and not isinstance(self.target, str):
            raise ValueError("either `mask` or several columns as `target`")
        if self.numbers and (self.mask is not None or self.names is not None or self.target != "target"):
            raise ValueError("either `numbers`, or `target`, `names` and `mask`")
        if self.labels is not None and (self.mask is not None or self.numbers or self.box or self.objects):
            raise ValueError("either `labels`, or `mask`, `numbers`, `box` and `objects`")
        if self.labels is not None and self.target != "target":
            raise ValueError("either `labels` or `target`")
        if self.separator is not None and not isinstance(self.labels, str):
            raise ValueError("`separator` beside one column as `labels`")
        if isinstance(self.labels, tuple) and self.names is not None and len(self.names) != len(self.labels):
            raise ValueError("as many `names` as columns of `labels`, or none")
        if self.text is not None and (
            self.image != "path" or self.mask or self.box or self.objects or self.encoding or self.root or self.prefix
        ):
            raise ValueError("either `text`, or `image`, `mask`, `box`, `objects`, `encoding`, `root` and `prefix`")
        if self.spans and (self.text is None or self.numbers or self.target != "target"):
            raise ValueError("`spans` beside `text`, without `target` or `numbers`")
        if (self.box or self.objects) and (self.mask is not None or self.numbers or self.encoding is not None):
            raise ValueError("either `box` or `objects`, or `mask`, `numbers` or `encoding`")
        if (self.box and (self.objects is not None or not isinstance(self.target, str))) or (
            (self.boxes or self.unit) and not (self.box or self.objects)
        ):
            raise ValueError("`box` with one `target`, or `objects`; beside them `boxes` and `unit`")
        return self

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Those of `labels`."""
        return (self.labels,) if isinstance(self.labels, str) else self.labels or ()


class MasksSource(Located):
    """Pictures in one folder and their masks in another, under the same names."""

    kind: Literal["masks"]
    images: str | OfSplits = "images"  # folder below `path`, or one per split; what lies in folders in it counts too
    masks: str | OfSplits = "masks"  # folder of the masks, or one per split; may be the same
    picture: str = ""  # what a picture's name ends with before its suffix, and its mask's does not
    mask: str = ""  # what a mask's name ends with, and its picture's does not, such as `_mask`
    # Of the classes, by pixel value, the background first.
    names: Annotated[tuple[str, ...], AfterValidator(different)] | None = None
    values: MaskValues | None = None  # of each of `names`, where they are not 0, 1, 2, …; several of one, or colours
    ignore: Ignored = Field(default=(), exclude_if=operator.not_)  # values whose pixels are neither learnt nor judged
    faulty: Faulty = "refuse"  # pictures without a mask, masks without a picture, masks that do not fit

    @model_validator(mode="after")
    def _goes_together(self) -> MasksSource:
        agreeing(self.names, self.values, self.ignore)
        if isinstance(self.images, str) != isinstance(self.masks, str) or (
            isinstance(self.images, dict) and isinstance(self.masks, dict) and set(self.images) != set(self.masks)
        ):
            raise ValueError("`images` and `masks` of the same splits")
        return self


class CutOutsSource(Located, SceneDeclaration):
    """Scenes as of `ScenesSource`, of pictures with transparency: `PATH/CLASS/*.png`, one folder per class."""

    kind: Literal["cut-outs"]


class CocoSource(Located):
    """COCO's JSON of objects: `PATH` holds it, or is it. One JSON a split publishes the splits."""

    kind: Literal["coco"]
    annotations: str | OfSplits | None = None  # below `path`: the JSON, or one per split; None: the only one there is
    # Folder of the images, or one per split; None: the JSON's own, or `images` beside it.
    images: str | OfSplits | None = None
    prefix: str | None = None  # what file names start with and files here do not, such as another machine's folder
    # crops: every object is a sample, cut out of its image (which is the group `group_image`: no image is in two
    # splits). masks: every image is a sample, and its target a mask of the objects. boxes: likewise, their boxes.
    # labels: likewise, which categories they are of.
    take: Literal["crops", "masks", "boxes", "labels"] = "crops"
    # How boxes are written. None: COCO's own, xywh in pixels; a file whose boxes cannot be meant so is refused. What is
    # declared is believed.
    boxes: BoxForm | None = None
    unit: BoxUnit | None = None  # of boxes and polygons; run lengths always count pixels
    # Of masks: categories whose pixels are neither learnt nor judged.
    ignore: Annotated[tuple[str, ...], BeforeValidator(alone), AfterValidator(different)] = Field(
        default=(), exclude_if=operator.not_
    )
    faulty: Faulty = "refuse"  # pictures and annotations

    @model_validator(mode="after")
    def _of_masks(self) -> CocoSource:
        if self.ignore and self.take != "masks":
            raise ValueError("`ignore` beside `take: masks`")
        return self


class VocSource(Located):
    """Pascal VOC's folder: `JPEGImages`, `Annotations`, `ImageSets`, `SegmentationClass`."""

    kind: Literal["voc"]
    take: Literal["crops", "masks", "boxes", "labels"] = "crops"  # crops: each object; masks, boxes, labels: each image
    images: str | OfSplits = "JPEGImages"  # folder below `path`, or one per split
    annotations: str | OfSplits = "Annotations"  # folder of the XML files, or one per split; may be the same
    # Of the masks' classes, by pixel value, the background first; None: background and VOC's own twenty.
    names: Annotated[tuple[str, ...], AfterValidator(different)] | None = None
    # Of masks: a pixel value, or several, that are neither learnt nor judged; 255 is the border, else the background's.
    ignore: Annotated[tuple[PixelValue, ...], BeforeValidator(alone), AfterValidator(different)] = Field(
        default=(), exclude_if=operator.not_
    )
    unit: BoxUnit | None = None  # of boxes; None: pixels
    faulty: Faulty = "refuse"  # pictures, objects and masks

    @model_validator(mode="after")
    def _of_masks(self) -> VocSource:
        if self.ignore and self.take != "masks":
            raise ValueError("`ignore` beside `take: masks`")
        agreeing(self.names, None, self.ignore)
        return self


class YoloSource(Located):
    """YOLO's text files: one per picture, in `labels/` for one in `images/`, or beside it; `PATH` may be the YAML."""

    kind: Literal["yolo"]
    data: str | None = None  # below `path`: the YAML with names and splits; None: the only one there, if there is one
    # Folder of pictures below `path`, or a text that lists them, or one per split; None: as the YAML says, else all.
    images: str | OfSplits | None = None
    # Of the classes, by number; None: as the YAML, `classes.txt` or `obj.names` has them, else the numbers themselves.
    names: Annotated[tuple[str, ...], AfterValidator(different)] | None = None
    faulty: Faulty = "refuse"  # pictures, texts, lines and boxes


class IdxSource(Located):
    """Images and labels as LeCun's idx files, packed by gzip or not, below the folder `path`."""

    kind: Literal["idx"]
    images: str = "train-images-idx3-ubyte"  # file of the images, with `.gz` behind it or without
    labels: str = "train-labels-idx1-ubyte"  # file of their labels
    test_images: str | None = "t10k-images-idx3-ubyte"  # None, or not there: no split is published
    test_labels: str | None = "t10k-labels-idx1-ubyte"  # of the labels, likewise
    names: Annotated[tuple[str, ...], AfterValidator(different)] | None = None  # of the classes; None: 0, 1, 2, …


class ArraysSource(Located):
    """NumPy arrays: an `.npz`, or a folder of `.npy`: images (N, H, W) or (N, H, W, 3), uint8, and labels (N,).

    Labels may also be (N, 1), or (N, K) with one column per class, of which one is 1. Arrays of splits publish these.

    Beside them, where they are there: `id` (N,), `split` (N,), `time` (N,), and any `group_*` (N,).
    """

    kind: Literal["arrays"]
    images: str | OfSplits = "images"  # array of the images, or one per split
    labels: str | OfSplits = "labels"  # array of their labels, or one per split
    names: Annotated[tuple[str, ...], AfterValidator(different)] | None = None  # of the classes; None: as labelled

    @model_validator(mode="after")
    def _of_the_same_splits(self) -> ArraysSource:
        said = [set(each) if isinstance(each, dict) else None for each in (self.images, self.labels)]
        if said[0] != said[1]:
            raise ValueError("`images` and `labels` of the same splits")
        return self


class HuggingFaceSource(Located):
    """A data set of Hugging Face's `datasets`, saved to disk or in Parquet files; what is saved needs the extra."""

    kind: Literal["huggingface"]
    image: str = "image"  # a feature of kind Image
    label: str = "label"  # ClassLabel, or a string or number a class; or a list of such, any number of labels
    faulty: Faulty = "refuse"  # rows without a class (-1), or without their picture's bytes
    groups: Annotated[tuple[str, ...], AfterValidator(different)] = ()  # further columns: NAME becomes group_NAME


def _by_its_reader(source: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """A validator: of a kind that is not declared here, the section is what its reader takes, and lies beside it."""
    try:
        return check(source)
    except ValidationError as error:
        (first, *_) = error.errors()
        if first["type"] != "union_tag_invalid":
            raise
        context = first["ctx"]
    declared, kind = context["expected_tags"], context["tag"]
    others = [name for name in (file.replace("_", "-") for file in SOURCES.names()) if repr(name) not in declared]
    if kind not in others:
        known = ", ".join([declared, *map(repr, others)])
        raise PydanticKnownError("union_tag_invalid", {**context, "expected_tags": known})
    section: type[Section] = get_type_hints(SOURCES.load(kind).read)["source"]
    return section.model_validate(source)


Source = Annotated[
    FashionMnistSource
    | DigitsSource
    | DigitScenesSource
    | ScenesSource
    | FolderSource
    | CutOutsSource
    | ManifestSource
    | MasksSource
    | CocoSource
    | VocSource
    | YoloSource
    | IdxSource
    | ArraysSource
    | HuggingFaceSource,
    Field(discriminator="kind"),
    WrapValidator(_by_its_reader),
    SerializeAsAny(),
]


# -- what the data must be ------------------------------------------------------------------------------------------


class SplitDeclaration(Section):
    """Shares of the samples that the source has not split itself; a predefined test split stays the test split."""

    validation: Fraction = 0.1  # used where the source has no validation split of its own
    test: Fraction = 0.2  # used only where the source has no test split of its own
    seed: Seed = 0  # of the draw
    predefined: Literal["keep", "ignore"] = "keep"  # ignore: what the source says of splits does not count
    group: str | None = None  # a column `group_*` none of whose values may be in two splits, such as a patient
    order: Literal["random", "time"] = "random"  # time: the newest samples are tested on, the next ones validate
    folds: Annotated[int, Field(ge=2, le=20)] | None = None  # the training split in k parts, for stacking
    # Pictures that are (all but) the same go to one split and one fold. ignore: they are drawn like any others, which
    # suits sets in which different samples look the same, such as one part photographed in one place.
    twins: Literal["together", "ignore"] = "together"

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, given: Any) -> Any:
        return current(given, {"published": Renamed("predefined")})

    @model_validator(mode="after")
    def _one_way(self) -> SplitDeclaration:
        if self.group is not None and self.order == "time":
            raise ValueError("either `group` or `order: time`: the newest samples of a group cannot leave it")
        return self


Handling = Literal["keep", "drop", "review"]


class ChecksDeclaration(Section):
    """What is looked for in the data beyond its form, and what happens to what is found.

    keep: it is reported. drop: it leaves the training split (never the test split: a test that is rid of what is hard
    flatters), and the data set's card lists it. review: the run stops until `reviewed` has a person's verdict on it;
    what a person drops leaves whichever split it is in.
    """

    # Near-duplicates in two splits. error: the pipeline stops. drop: the one that would be learnt from leaves. move: it
    # joins the other in the later split. keep: it is learnt from, and the report has the metric without its twins too.
    leakage: Literal["error", "drop", "move", "keep"] = "error"
    # Classes that a split or fold has no sample of. error: the pipeline stops. keep: it goes on, if the training split
    # has all of them, and such a split says nothing of them; for predefined splits, which are what they are.
    small_classes: Literal["error", "keep"] = Field(default="error", exclude_if="error".__eq__)
    outliers: Handling = "keep"  # pictures or texts that are far from all others
    label_noise: Handling = "keep"  # samples whose label is probably wrong
    reviewed: str | None = None  # a CSV `id,verdict` with verdicts keep and drop, in the project
    # How much of what is unknown about the class a group may tell (Goodman and Kruskal's lambda): above it, a network
    # can learn the group instead of the class.
    confounding: Share = 0.9
    expectations: str | None = None  # a YAML file of further Great Expectations, in the project


class DatasetConfig(Section):
    """One entry of the catalogue: one instance of each DVC stage."""

    task: str  # what is learnt: a name that `convoy tasks` lists
    source: Source  # where the data comes from
    # What is given: one of these.
    image: ImageDeclaration | None = Field(default=None, exclude_if=lambda declared: declared is None)
    text: TextDeclaration | None = Field(default=None, exclude_if=lambda declared: declared is None)
    split: SplitDeclaration = SplitDeclaration()
    classes: Annotated[tuple[str, ...], AfterValidator(different)] | None = None  # None: the names the source gives
    checks: ChecksDeclaration = ChecksDeclaration()

    @model_validator(mode="after")
    def _one_input(self) -> DatasetConfig:
        if len(self._given) != 1:
            raise ValueError("one of `image` and `text`, which says what is given")
        return self

    @property
    def input_kind(self) -> str:
        """A name of `components.inputs`."""
        return next(iter(self._given))

    @property
    def declared(self) -> ImageDeclaration | TextDeclaration:
        """What is said of the input."""
        return next(iter(self._given.values()))

    @property
    def _given(self) -> dict[str, ImageDeclaration | TextDeclaration]:
        each = {"image": self.image, "text": self.text}
        return {name: declared for name, declared in each.items() if declared is not None}
