"""Fig. 6: joint scores and assigned degrees of instances on the FPN's levels, early and late in training."""

import math
from dataclasses import dataclass
from itertools import product
from typing import List, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from analysis.figures.style import SKY, WIDE, Sheet, picture, show
from analysis.tables.notes import profile as profile_text
from experiments.store.qualitative import QualitativeAssignment

#: 0 is pale, so that sparse maps look sparse. The map darkens evenly, so that grey prints show the same.
MAP = 'magma_r'
_LEFT, _TOP, _WORDS, _GAP, _BLOCK, _BELOW = 0.08, 0.5, 0.5, 0.05, 0.14, 0.62  # inches
_ROWS = ('score', 'degree')


@dataclass(frozen=True)
class _Places:
    """The layout in inches: an image, as wide and high as two maps, and beside it the maps of each stage."""

    levels: List[int]
    stages: int
    width: float
    height: float

    @property
    def left(self) -> float:
        """Left edge of the maps."""
        return _LEFT + 2 * self.width + _WORDS

    @property
    def of_stage(self) -> float:
        """Width of a stage's maps."""
        return len(self.levels) * (self.width + _GAP) - _GAP

    def x(self, stage: int, place: int = 0) -> float:
        """Left edge of a stage's maps, or of one of them."""
        return self.left + stage * (self.of_stage + _BLOCK) + place * (self.width + _GAP)

    def y(self, instance: int, row: int = 0) -> float:
        """Top edge of an instance's maps, or of one row of them."""
        return _TOP + instance * (2 * self.height + _GAP + _BLOCK) + row * (self.height + _GAP)


def fig6(capture: QualitativeAssignment) -> Figure:
    """Fig. 6: for each instance the image, a row of joint scores and a row of degrees.

    Columns are the levels of each stage. Levels without a positive anchor of any instance at any stage are left out. A
    ring marks the certain anchor.

    Raises:
        ValueError: the stored image is damaged.
    """
    places, pixels = _places(capture), picture(capture.file)
    sheet = Sheet(WIDE, places.y(len(capture.instances)) + _BELOW)
    _headers(sheet, capture, places)
    for i, (name, box) in enumerate(capture.instances):
        image = sheet.axes(_LEFT, places.y(i) + _GAP / 2, 2 * places.width, 2 * places.height)
        show(image, pixels)
        _outline(image, box, 'white', 2.4)
        _outline(image, box, 'black', 1.1)
        sheet.text(_LEFT, places.y(i) - 0.02, name, fontsize=7.5, va='bottom')
        for row, word in enumerate(_ROWS):
            y = places.y(i, row)
            sheet.text(places.left - 0.06, y + places.height / 2, word, fontsize=7, ha='right', va='center')
            for s, (place, level) in product(range(places.stages), enumerate(places.levels)):
                axes = sheet.axes(places.x(s, place), y, places.width, places.height)
                _map(axes, capture, s, i, word, level)
                _outline(axes, _scaled(box, capture), '0.35', 0.7)
    _scale(sheet)
    text = f'Image {capture.id}, seed {capture.seed}, {profile_text(capture.profile, capture.setting)}.'
    sheet.text(_LEFT, sheet.height - 0.06, text, fontsize=6.5, color='0.35', va='bottom')
    return sheet.figure


def _places(capture: QualitativeAssignment) -> _Places:
    levels, stages = _levels(capture), len(capture.stages)
    maps = stages * len(levels)
    spaces = 2 * _LEFT + _WORDS + _GAP * stages * (len(levels) - 1) + _BLOCK * (stages - 1)
    width = min((WIDE - spaces) / (maps + 2), 1.2)
    return _Places(levels, stages, width, width * capture.input_size[0] / capture.input_size[1])


def _levels(capture: QualitativeAssignment) -> List[int]:
    """The levels that have a positive anchor of any instance at any stage."""
    return [
        level
        for level in range(len(capture.shapes))
        if any(capture.level_map(values, level).any() for stage in capture.stages for values in stage.degrees)
    ]


def _map(axes: Axes, capture: QualitativeAssignment, stage: int, instance: int, word: str, level: int) -> None:
    """Draw scores or degrees on a level in pixels of the network's input."""
    shown = capture.stages[stage]
    values = shown.scores if word == 'score' else shown.degrees
    map_ = capture.level_map(values[instance].astype(np.float32), level)
    stride = capture.strides[level]
    extent = (0, map_.shape[1] * stride, map_.shape[0] * stride, 0)
    axes.imshow(map_, cmap=MAP, vmin=0, vmax=1, extent=extent, interpolation='nearest')
    axes.set(xlim=(0, capture.input_size[1]), ylim=(capture.input_size[0], 0))
    if word == 'degree':
        rows, columns = np.nonzero(capture.level_map(shown.certain[instance], level))
        _ring(axes, (columns + 0.5) * stride, (rows + 0.5) * stride)


def _ring(axes: Axes, x: ArrayLike, y: ArrayLike) -> None:
    axes.plot(x, y, 'o', color=SKY, fillstyle='none', markersize=4, markeredgewidth=1.2)


def _outline(axes: Axes, box: Sequence[float], colour: str, width: float) -> None:
    x1, y1, x2, y2 = box
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=width))


def _scaled(box: Sequence[float], capture: QualitativeAssignment) -> List[float]:
    """Convert a box from pixels of the file to pixels of the network's input."""
    y, x = (new / old for new, old in zip(capture.input_size, capture.size))
    return [box[0] * x, box[1] * y, box[2] * x, box[3] * y]


def _headers(sheet: Sheet, capture: QualitativeAssignment, places: _Places) -> None:
    """Write a title above each stage, and the level above each of its columns."""
    for s, stage in enumerate(capture.stages):
        t = '' if stage.t is None else f', $T^j$ = {stage.t:.2f}'
        text = f'{stage.label.capitalize()}: epoch {stage.epoch} of {capture.epochs}{t}'
        sheet.text(places.x(s) + places.of_stage / 2, 0.12, text, fontsize=8.5, ha='center', va='top')
        for place, level in enumerate(places.levels):
            name = f'P{round(math.log2(capture.strides[level]))}'
            middle = places.x(s, place) + places.width / 2
            sheet.text(middle, _TOP - 0.03, name, fontsize=7, ha='center', va='bottom')


def _scale(sheet: Sheet) -> None:
    """Draw the common colour scale of scores and degrees, and the legend of the ring."""
    axes = sheet.axes(WIDE - 2.6, sheet.height - 0.5, 2.0, 0.1)
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=MAP, aspect='auto', extent=(0, 1, 0, 1))
    axes.set_xticks([0, 0.5, 1])
    axes.tick_params(labelsize=6.5, length=2)
    axes.set_xlabel('joint score, positive degree', fontsize=7, labelpad=1)
    key = sheet.axes(_LEFT, sheet.height - 0.5, 0.1, 0.1)
    _ring(key, [0], [0])
    key.set_axis_off()
    sheet.text(_LEFT + 0.16, sheet.height - 0.45, 'the certain anchor', fontsize=7, va='center')
