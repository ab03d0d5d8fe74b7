"""Networks for 224×224 pixels, made to see small images: the first halvings are left out, all weights still fit.

A network that divides its input by 32 has one pixel left of a digit. Without its first two halvings it divides by 8,
as networks made for such images do (He et al. 2016, section 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, cast

from torch import nn

from components.artifacts import ImageSpec

Stem = Literal["auto", "original", "small"]

SMALL = 64  # up to here, in pixels, `auto` takes the small stem
VERY_SMALL = 32  # up to here two halvings are left out, beyond it one: either way 4 pixels or more remain


def halvings_to_skip(stem: Stem, inputs: ImageSpec) -> int:
    """How many halvings the images are too small for."""
    longest = max(inputs.height, inputs.width)
    if stem == "original" or (stem == "auto" and longest > SMALL):
        return 0
    return 2 if longest <= VERY_SMALL else 1


def skip_halvings(blocks: Iterable[nn.Module], count: int) -> None:
    """Undo the first `count` halvings of the blocks, in place.

    All strides of one block are taken for one halving (or two, where they are 4): branches that meet again must keep
    meeting.
    """
    for block in blocks:
        if not count:
            return
        strided = [module for module in block.modules() if _stride(module) > 1]
        if strided:
            most = max(_stride(module) for module in strided)
            left = max(1, most >> count)
            count -= min(count, int(math.log2(most // left)))
            for module in strided:
                _set_stride(module, min(left, _stride(module)))


def _stride(module: nn.Module) -> int:
    """Of a layer that slides over the image; 1 for any other."""
    if not isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        return 1
    return _first(module.stride)


def _set_stride(module: nn.Module, stride: int) -> None:
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        if stride == 1:  # the identity: what is left of a pooling that does not shrink
            module.kernel_size, module.padding = 1, 0
        module.stride = stride
        return
    convolution = cast(nn.Conv2d, module)
    kernel = _first(convolution.kernel_size)
    if kernel == _first(convolution.stride):  # patches that did not overlap now do, and need a margin
        margin = math.ceil((kernel - stride) / 2)
        convolution.padding = (margin, margin)
    convolution.stride = (stride, stride)


def _first(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]
