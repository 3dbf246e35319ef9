"""What the paper claims of a table, as comparisons over its cells. ``analysis`` judges them.

In a table file::

    claims:
      - id: t-min-narrows-the-gap
        says: the smaller T^min, the smaller the gap between the readings     # in a few words
        quote: "a small T^min is helpful to narrow down the performance gap"  # the paper's sentence
        where: Table 3
        compare:
          - left: {key: with_nms/AP, minus: without_nms/AP, at: {t_min: 0.1}}
            is: less                                                          # or greater
            right: {key: with_nms/AP, minus: without_nms/AP, at: {t_min: 0.4}}
            for_each: [t_max]           # once for each value of these axes, standing there on both sides

A quantity is a stored metric (``key``) of one cell (``at``: one value of each axis that ``for_each`` does not name),
less another one of the same cell (``minus``), times a number (``times``), after the epoch ``epoch`` (counted from 1;
the last if not given). ``at: {k: others}`` on the right stands for every value of the axis but the left side's, in
turn. A claim holds when all of its comparisons do.
"""

import itertools
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Set, Tuple

from experiments.spec.yaml_file import YamlFile

OTHERS = 'others'
Position = Dict[str, str]


@dataclass(frozen=True)
class Quantity:
    """``times`` x (``key`` - ``minus``) of the cell ``at`` after epoch ``epoch`` (None: the last)."""

    key: str
    minus: Optional[str]
    times: float
    epoch: Optional[int]
    at: Position


@dataclass(frozen=True)
class Comparison:
    """``left`` is ``relation`` ('less' or 'greater') than ``right``."""

    left: Quantity
    relation: str
    right: Quantity


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: what it says in short, the sentence it comes from and where that stands, and what must
    hold, all of it."""

    id: str
    says: str
    quote: str
    where: str
    comparisons: Tuple[Comparison, ...]


def read_claims(file: YamlFile, content: Any, axes: Dict[str, List[str]], keys: Set[str]) -> Tuple[Claim, ...]:
    """The claims of a table file.

    Args:
        file (YamlFile): the file, for messages.
        content: what stands under ``claims``.
        axes (dict): names of each axis's values.
        keys (set[str]): metrics that the table shows.

    Raises:
        UserError: a claim is broken.
    """
    reader = _Reader(file, axes, keys)
    claims = [reader.claim(body, f'claims[{i}]') for i, body in enumerate(file.list(content, 'claims', empty=True))]
    ids = [claim.id for claim in claims]
    for claim_id in ids:
        if ids.count(claim_id) > 1:
            file.fail('claims', f'id {claim_id!r} is there twice')
    return tuple(claims)


class _Reader:
    def __init__(self, file: YamlFile, axes: Dict[str, List[str]], keys: Set[str]) -> None:
        self.file, self.axes, self.keys = file, axes, keys

    def claim(self, body: Any, where: str) -> Claim:
        texts = ('id', 'says', 'quote', 'where')
        self.file.mapping(body, where, {*texts, 'compare'}, {*texts, 'compare'})
        for name in texts:
            if not isinstance(body[name], str):
                self.file.fail(f'{where}.{name}', f'must be text, not {body[name]!r}')
        comparisons: List[Comparison] = []
        for i, entry in enumerate(self.file.list(body['compare'], f'{where}.compare')):
            comparisons += self._comparisons(entry, f'{where}.compare[{i}]')
        if not comparisons:
            self.file.fail(f'{where}.compare', 'compares nothing: the axis has no other value')
        return Claim(**{name: body[name] for name in texts}, comparisons=tuple(comparisons))

    def _comparisons(self, entry: Any, where: str) -> List[Comparison]:
        self.file.mapping(entry, where, {'left', 'is', 'right', 'for_each'}, {'left', 'is', 'right'})
        if entry['is'] not in ('less', 'greater'):
            self.file.fail(f'{where}.is', f"must be 'less' or 'greater', not {entry['is']!r}")
        each = self.file.texts(entry.get('for_each', []), f'{where}.for_each')
        for axis in each:
            if axis not in self.axes:
                self.file.fail(f'{where}.for_each', f'there is no axis {axis!r}; there are {", ".join(self.axes)}')
        return [
            Comparison(left, entry['is'], right)
            for names in itertools.product(*(self.axes[axis] for axis in each))
            for left in self._quantities(entry['left'], f'{where}.left', dict(zip(each, names)), None)
            for right in self._quantities(entry['right'], f'{where}.right', dict(zip(each, names)), left)
        ]

    def _quantities(self, body: Any, where: str, fixed: Position, left: Optional[Quantity]) -> List[Quantity]:
        self.file.mapping(body, where, {'key', 'minus', 'times', 'epoch', 'at'}, {'key'})
        for name in ('key', 'minus'):
            if name in body and not (isinstance(body[name], str) and body[name] in self.keys):
                self.file.fail(f'{where}.{name}', f'the table does not show {body[name]!r}: {sorted(self.keys)}')
        at = self.file.mapping(body.get('at', {}), f'{where}.at', known=set(self.axes) - set(fixed))
        at = {**fixed, **{axis: str(value) for axis, value in at.items()}}
        for axis in self.axes:
            if axis not in at:
                self.file.fail(f'{where}.at', f'says nothing of axis {axis!r}, and for_each does not name it')
        values = [self._values(axis, at[axis], where, left) for axis in self.axes]
        numbers = self._times(body.get('times', 1), f'{where}.times'), self._epoch(body.get('epoch'), f'{where}.epoch')
        return [
            Quantity(body['key'], body.get('minus'), *numbers, dict(zip(self.axes, names)))
            for names in itertools.product(*values)
        ]

    def _times(self, value: Any, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.file.fail(where, f'must be a number, not {value!r}')
        return float(value)

    def _epoch(self, value: Any, where: str) -> Optional[int]:
        if value is not None and (type(value) is not int or value < 1):
            self.file.fail(where, f'must be a whole number from 1, not {value!r}')
        return value

    def _values(self, axis: str, value: str, where: str, left: Optional[Quantity]) -> List[str]:
        if value == OTHERS and left is not None:
            return [name for name in self.axes[axis] if name != left.at[axis]]
        if value not in self.axes[axis]:
            self.file.fail(f'{where}.at', f'axis {axis} has no value {value!r}; it has {", ".join(self.axes[axis])}')
        return [value]
