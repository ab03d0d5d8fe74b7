"""Sources that compose scenes of things: what is in them, and how much of it is to be seen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from components.config.section import Few, Fraction, Section, Seed, Share, ascending


class SceneDeclaration(Section):
    """Scenes in which things lie over textured backgrounds, over each other and over the edge, unevenly lit."""

    scenes: Annotated[int, Field(ge=10, le=1_000_000)] = 3000  # of all splits, which are published
    validation: Fraction = 0.1  # share of the scenes, and of the things, none of which is in two splits
    test: Fraction = 0.2  # as `validation`
    size: Annotated[int, Field(ge=32, le=1024)] = 96  # side of the square scene, pixels
    channels: Literal[1, 3] = 3  # 1: grey; 3: colour
    objects: Annotated[tuple[Few, Few], AfterValidator(ascending)] = (1, 6)  # fewest, most a scene
    scale: Annotated[tuple[Fraction, Fraction], AfterValidator(ascending)] = (0.16, 0.4)  # of the scene's side
    # Share of the things of which a good half is to be hidden, by the edge or by the next thing.
    hidden: Share = 0.3
    noise: Share = 0.04  # standard deviation, as a share of full scale
    # boxes: around each thing, with the share of it that is visible; masks: the class of every pixel
    take: Literal["boxes", "masks"] = "boxes"
    seed: Seed = 0  # of all that is drawn by chance

    @model_validator(mode="after")
    def _something_to_train_on(self) -> SceneDeclaration:
        if self.validation + self.test >= 1.0:
            raise ValueError("`validation` and `test` that leave something to train on")
        return self


class ScenesSource(SceneDeclaration):
    """Scenes of scikit-learn's digits, without a download, or of Fashion-MNIST's items, over textured backgrounds."""

    kind: Literal["scenes"]
    items: Literal["digits", "fashion-mnist"] = "digits"  # what lies in the scenes
    mirror: str | None = None  # of Fashion-MNIST's files, as in `FashionMnistSource`
