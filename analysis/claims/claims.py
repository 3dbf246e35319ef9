"""What a plan claims: comparisons of quantities of its cells (experiments/spec/claims.py). All of them must hold."""

from dataclasses import dataclass
from typing import Any, Optional, Tuple

from analysis.plans import Cell, Plan, Position
from analysis.results import SPEED
from experiments.store.checks import has, number_or_null, short

LESS, GREATER = 'less', 'greater'

_CLAIM = dict(id=str, says=str, quote=str, where=str, comparisons=list)
_COMPARISON = dict(left=dict, relation=str, right=dict)
_QUANTITY = dict(key=str, minus=Optional[str], epoch=Optional[int], at=dict)


@dataclass(frozen=True)
class Quantity:
    """``times`` x (``key`` - ``minus``) of the cell ``at``, after epoch ``epoch`` (None: the last)."""

    key: str
    minus: Optional[str]
    times: float
    epoch: Optional[int]
    at: Position

    @property
    def keys(self) -> Tuple[str, ...]:
        """The metrics that it is made of."""
        return (self.key,) if self.minus is None else (self.key, self.minus)

    def words(self, plan: Plan) -> str:
        """'0.5 × AP with NMS, Method FCOS, 1×, after epoch 6'."""
        value = ' − '.join(map(_metric_words, self.keys))
        if self.times != 1:
            value = f'{self.times:g} × ' + (f'({value})' if self.minus else value)
        return ', '.join([value, *plan.words(self.at), *([f'after epoch {self.epoch}'] if self.epoch else [])])


@dataclass(frozen=True)
class Comparison:
    """``left`` is ``relation`` (``LESS`` or ``GREATER``) than ``right``."""

    left: Quantity
    relation: str
    right: Quantity


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: what it says in short, the sentence it comes from, where that stands, and the comparisons
    that must hold."""

    id: str
    says: str
    quote: str
    where: str
    comparisons: Tuple[Comparison, ...]


def read_claims(plan: Plan) -> Tuple[Claim, ...]:
    """The claims of a plan.

    Raises:
        ValueError: one is broken; the message names the key.
    """
    return tuple(_claim(plan, content, f'claims[{i}]') for i, content in enumerate(plan.claims))


def cell_at(plan: Plan, at: Position) -> Cell:
    """The cell of a quantity."""
    return next(cell for cell in plan.cells if cell.at == at)


def _claim(plan: Plan, content: Any, where: str) -> Claim:
    has(content, _CLAIM, where)
    if not content['comparisons']:
        raise ValueError(f'{where}.comparisons is empty')
    comparisons = []
    for i, entry in enumerate(content['comparisons']):
        there = f'{where}.comparisons[{i}]'
        has(entry, _COMPARISON, there)
        if entry['relation'] not in (LESS, GREATER):
            raise ValueError(f'{there}.relation must be less or greater, not {short(entry["relation"])}')
        left, right = (_quantity(plan, entry[side], f'{there}.{side}') for side in ('left', 'right'))
        comparisons.append(Comparison(left, entry['relation'], right))
    texts = {key: content[key] for key in ('id', 'says', 'quote', 'where')}
    return Claim(**texts, comparisons=tuple(comparisons))


def _quantity(plan: Plan, content: dict, where: str) -> Quantity:
    has(content, _QUANTITY, where)
    times = number_or_null(content.get('times'), f'{where}.times')
    if times is None:
        raise ValueError(f'{where}.times must be a number')
    if not any(cell.at == content['at'] for cell in plan.cells):
        raise ValueError(f'{where}.at is no cell of the table: {short(content["at"])}')
    return Quantity(times=times, **{key: content[key] for key in _QUANTITY})


def _metric_words(key: str) -> str:
    """'mask AP with NMS' for 'with_nms/mask_AP', 'forward ms without NMS' for 'speed/without_nms/forward_ms'."""
    reading, _, name = key.removeprefix(SPEED).rpartition('/')
    return f'{name} {reading}'.replace('_', ' ').replace('nms', 'NMS').strip()
