"""Small curves of one run as SVG paths: two hundred bytes each, so that a thousand runs fit into one page."""

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

WIDTH, HEIGHT = 200, 56
#: How the page draws a first and a second line.
_STYLES = ('line', 'dashes')


@dataclass(frozen=True)
class Curves:
    """One or two lines over the epochs on one scale, as SVG paths, and what they show in words."""

    paths: Tuple[str, ...]
    words: str


def curves(title: str, unit: str, lines: Sequence[Tuple[str, Sequence[Optional[float]]]]) -> Optional[Curves]:
    """Draw one or two lines, each a name and a value per epoch, None where it has none.

    Returns:
        Curves: in a box of ``WIDTH`` x ``HEIGHT`` whose lower end is the smallest of all values; None where there are
            no values.
    """
    lines = [(name, values) for name, values in lines if any(value is not None for value in values)]
    if not lines:
        return None
    every = [value for _, values in lines for value in values if value is not None]
    low, high, epochs = min(every), max(every), max(len(values) for _, values in lines)
    named = [f'{name} ({style})' if len(lines) > 1 else name for (name, _), style in zip(lines, _STYLES)]
    words = '; '.join(f'{name} {_ends(values)}' for name, (_, values) in zip(named, lines))
    return Curves(
        tuple(_path(values, low, high, epochs) for _, values in lines),
        f'{title}{f" in {unit}" if unit else ""} over {epochs} epoch{"s" * (epochs > 1)}: {words}',
    )


def _ends(values: Sequence[Optional[float]]) -> str:
    """'from 2.1 to 34.8', the first and the last value."""
    there = [value for value in values if value is not None]
    return f'from {there[0]:.3g} to {there[-1]:.3g}' if len(there) > 1 else f'{there[0]:.3g}'


def _path(values: Sequence[Optional[float]], low: float, high: float, epochs: int) -> str:
    """Straight lines between the epochs, broken where a value is missing; a value by itself is a short dash."""
    pieces: List[List[Tuple[int, int]]] = [[]]
    for i, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            x = round(WIDTH * i / max(1, epochs - 1))
            pieces[-1].append((x, round(HEIGHT * (1 - (value - low) / ((high - low) or 1)))))
    return ''.join(_piece(points) for points in pieces if points)


def _piece(points: List[Tuple[int, int]]) -> str:
    """'M0 56l18-8 37-4': each point relative to the one before; those within a level stretch are left out."""
    corners = [
        point
        for before, point, after in zip(points[:1] + points, points, points[1:] + points[-1:])
        if point in (points[0], points[-1]) or not before[1] == point[1] == after[1]
    ]
    steps = [f'{x - x0}{" " if y >= y0 else ""}{y - y0}' for (x0, y0), (x, y) in zip(corners, corners[1:])]
    return f'M{corners[0][0]} {corners[0][1]}' + ('l' + ' '.join(steps) if steps else 'h4')
