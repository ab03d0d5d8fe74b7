"""The colours in which classes are drawn, told apart by colour-blind people too."""

from __future__ import annotations

Colour = tuple[int, int, int]

# Okabe and Ito's colours and three of Tol's.
PALETTE: tuple[Colour, ...] = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)),
    *((136, 34, 85), (153, 153, 51), (170, 170, 221)),
)


def colour(number: int) -> Colour:
    """Of the class of that number from 0 on; after ten they come again."""
    return PALETTE[number % len(PALETTE)]
