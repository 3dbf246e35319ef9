"""Small curves of one run as SVG paths: a hundred bytes each, so that a thousand runs fit into one page."""

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

WIDTH, HEIGHT = 200, 56
#: How the page draws a first and a second line.
_STYLES = ('line', 'dashes')


@dataclass(frozen=True)
class Curves:
    """Lines over the epochs on one scale: what each is and its path, and in words what all of them show."""

    title: str
    lines: Tuple[Tuple[str, str], ...]
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
    words = '; '.join(f'{name} {_ends(values)}'.strip() for name, (_, values) in zip(named, lines))
    return Curves(
        title,
        tuple((name, _path(values, low, high, epochs)) for name, values in lines),
        f'{title}{f" in {unit}" if unit else ""} over {epochs} epoch{"s" * (epochs > 1)}: {words}',
    )


def _ends(values: Sequence[Optional[float]]) -> str:
    """'from 2.1 to 34.8', the first and the last value."""
    there = [value for value in values if value is not None]
    return f'from {there[0]:.3g} to {there[-1]:.3g}' if len(there) > 1 else f'{there[0]:.3g}'


def _path(values: Sequence[Optional[float]], low: float, high: float, epochs: int) -> str:
    """Straight lines between the epochs, broken where a value is missing; a single value is a short dash."""
    points: List[str] = []
    pen_down = False
    for i, value in enumerate(values):
        if value is not None:
            x = round(WIDTH * i / max(1, epochs - 1))
            y = round(HEIGHT * (1 - (value - low) / ((high - low) or 1)))
            points.append(f'{"L" if pen_down else "M"}{x} {y}')
        pen_down = value is not None
    return ''.join(points) + ('h4' if len(points) == 1 else '')
