"""What a benchmark found: a list of rows, each a figure of ours beside one of something else."""

from dataclasses import asdict, dataclass
from typing import Dict, List, Optional


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table.

    Attributes:
        case (str): what was done, such as '300 instances'.
        ours (float): our figure, the median of what was measured.
        unit (str): its unit; less of it is better.
        against (float, optional): the figure it is compared with, in the same unit.
        name (str): what ``against`` is of.
        faster (float, optional): target: ``against / ours`` is at least this.
        at_most (float, optional): target: ``ours / against`` is at most this.
        below (float, optional): target: ``ours`` is below this.
        note (str): what a reader must know of this line.
    """

    case: str
    ours: float
    unit: str
    against: Optional[float] = None
    name: str = ''
    faster: Optional[float] = None
    at_most: Optional[float] = None
    below: Optional[float] = None
    note: str = ''

    @property
    def met(self) -> Optional[bool]:
        """Whether the targets are met; None without a target."""
        checks = []
        if self.faster is not None:
            checks.append(self.against / self.ours >= self.faster)
        if self.at_most is not None:
            checks.append(self.ours / self.against <= self.at_most)
        if self.below is not None:
            checks.append(self.ours < self.below)
        return all(checks) if checks else None

    def cells(self) -> List[str]:
        """The line as text: case, ours, against, ratio, target, met."""
        against = '' if self.against is None else f'{_short(self.against)} {self.unit} ({self.name})'
        met = {True: 'yes', False: '**no**', None: ''}[self.met]
        note = f'; {self.note}' if self.note else ''
        return [self.case + note, f'{_short(self.ours)} {self.unit}', against, self._ratio(), self._target(), met]

    def _ratio(self) -> str:
        if self.against is None:
            return ''
        if self.faster is not None:
            return f'{_short(self.against / self.ours)}x less'
        return f'{self.ours / self.against:.3f}x'

    def _target(self) -> str:
        words = []
        if self.faster is not None:
            words.append(f'>= {self.faster:g}x less')
        if self.at_most is not None:
            words.append(f'<= {self.at_most:.2f}x')
        if self.below is not None:
            words.append(f'< {self.below:g} {self.unit}')
        return ', '.join(words)


HEADER = ['case', 'ours', 'against', 'ratio', 'target', 'met']


def table(rows: List[Row]) -> str:
    """The rows as a Markdown table that also reads well in a terminal."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines)]
    lines.insert(1, ['-' * width for width in widths])
    return '\n'.join('| ' + ' | '.join(map(str.ljust, line, widths)) + ' |' for line in lines)


def to_json(rows: List[Row]) -> List[Dict]:
    """Rows as JSON has them, without what is not set."""
    return [{key: value for key, value in asdict(row).items() if value not in (None, '')} for row in rows]


def from_json(rows: List[Dict]) -> List[Row]:
    """What :func:`to_json` made."""
    return [Row(**row) for row in rows]


def _short(value: float) -> str:
    """Three digits, and no exponent."""
    if value >= 100 or value == 0:
        return f'{value:.0f}'
    return f'{value:.{1 if value >= 10 else 2 if value >= 1 else 3}f}'
