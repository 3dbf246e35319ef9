"""Fig. 6: joint scores and assigned degrees of instances on the FPN's levels, early and late in training."""

import math
from typing import List

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis import words
from analysis.captures import Assignment
from analysis.figures.layout import Sheet, picture, show
from analysis.figures.style import SKY, WIDE

#: Pale is 0, so that sparse maps look sparse; it gets evenly darker, so that grey prints show the same.
MAP = 'magma_r'
_LEFT, _TOP, _GAP, _BLOCK, _BELOW = 0.08, 0.5, 0.05, 0.14, 0.62  # inches


def fig6(capture: Assignment) -> Figure:
    """For each instance its image, a row of joint scores and a row of degrees; columns are the levels of each stage.

    Levels on which no instance has a positive anchor at any stage are left out. A ring marks the certain anchor.

    Raises:
        ValueError: the capture's image is damaged.
    """
    levels, pixels = _levels(capture), picture(capture.file)
    aspect = capture.input_size[0] / capture.input_size[1]
    count = len(capture.stages) * len(levels)
    names = 0.5  # inches for the words beside the rows
    cell = min((WIDE - 2 * _LEFT - names - _GAP * count - _BLOCK * len(capture.stages)) / (count + 2), 1.2)
    block = 2 * cell * aspect + _GAP + _BLOCK
    sheet = Sheet(WIDE, _TOP + block * len(capture.instances) + _BELOW)
    start = _LEFT + 2 * cell + names
    for i, (name, box) in enumerate(capture.instances):
        top = _TOP + i * block
        image = sheet.axes(_LEFT, top + _GAP / 2, 2 * cell, 2 * cell * aspect)
        show(image, pixels)
        _outline(image, box, 'white', 2.4)
        _outline(image, box, 'black', 1.1)
        sheet.text(_LEFT, top - 0.02, name, fontsize=7.5, va='bottom')
        for row, word in enumerate(('score', 'degree')):
            y = top + row * (cell * aspect + _GAP)
            sheet.text(start - 0.06, y + cell * aspect / 2, word, fontsize=7, ha='right', va='center')
            for s, stage in enumerate(capture.stages):
                x = start + s * (len(levels) * (cell + _GAP) + _BLOCK)
                for place, level in enumerate(levels):
                    axes = sheet.axes(x + place * (cell + _GAP), y, cell, cell * aspect)
                    _level(axes, capture, (stage.scores if row == 0 else stage.degrees)[i], level)
                    _outline(axes, _scaled(box, capture), '0.35', 0.7)
                    if row == 1:
                        _ring(axes, capture, stage.certain[i], level)
                    if i == 0 and row == 0:
                        sheet.text(
                            x + place * (cell + _GAP) + cell / 2,
                            y - 0.03,
                            _level_name(capture, level),
                            fontsize=7,
                            ha='center',
                            va='bottom',
                        )
    _headers(sheet, capture, start, len(levels) * (cell + _GAP) + _BLOCK, len(levels) * (cell + _GAP) - _GAP)
    _scale(sheet)
    text = f'Image {capture.id}, seed {capture.seed}, {words.profile(capture.profile, capture.setting)}.'
    sheet.text(_LEFT, sheet.height - 0.06, text, fontsize=6.5, color='0.35', va='bottom')
    return sheet.figure


def _levels(capture: Assignment) -> List[int]:
    """The levels that have a positive anchor of any instance at any stage."""
    return [
        level
        for level in range(len(capture.shapes))
        if any(capture.level_map(values, level).any() for stage in capture.stages for values in stage.degrees)
    ]


def _level(axes: Axes, capture: Assignment, values: np.ndarray, level: int) -> None:
    """The map of a level over the network's input, in its pixels."""
    map_ = capture.level_map(values.astype(np.float32), level)
    stride = capture.strides[level]
    extent = (0, map_.shape[1] * stride, map_.shape[0] * stride, 0)
    axes.imshow(map_, cmap=MAP, vmin=0, vmax=1, extent=extent, interpolation='nearest')
    axes.set(xlim=(0, capture.input_size[1]), ylim=(capture.input_size[0], 0))


def _ring(axes: Axes, capture: Assignment, certain: np.ndarray, level: int) -> None:
    rows, columns = np.nonzero(capture.level_map(certain, level))
    stride = capture.strides[level]
    axes.plot((columns + 0.5) * stride, (rows + 0.5) * stride, 'o', color=SKY, fillstyle='none', markersize=4, mew=1.2)


def _outline(axes: Axes, box: List[float], colour: str, width: float) -> None:
    x1, y1, x2, y2 = box
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=width))


def _scaled(box: List[float], capture: Assignment) -> List[float]:
    """A box in pixels of the file, in pixels of the network's input."""
    y, x = (new / old for new, old in zip(capture.input_size, capture.size))
    return [box[0] * x, box[1] * y, box[2] * x, box[3] * y]


def _level_name(capture: Assignment, level: int) -> str:
    return f'P{round(math.log2(capture.strides[level]))}'


def _headers(sheet: Sheet, capture: Assignment, start: float, step: float, width: float) -> None:
    for s, stage in enumerate(capture.stages):
        t = '' if stage.t is None else f', $T^j$ = {stage.t:.2f}'
        text = f'{stage.label.capitalize()}: epoch {stage.epoch} of {capture.epochs}{t}'
        sheet.text(start + s * step + width / 2, 0.12, text, fontsize=8.5, ha='center', va='top')


def _scale(sheet: Sheet) -> None:
    """The one scale of scores and degrees, and what the ring is."""
    axes = sheet.axes(WIDE - 2.6, sheet.height - 0.5, 2.0, 0.1)
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=matplotlib.colormaps[MAP], aspect='auto', extent=(0, 1, 0, 1))
    axes.set_xticks([0, 0.5, 1])
    axes.tick_params(labelsize=6.5, length=2)
    axes.set_xlabel('joint score, positive degree', fontsize=7, labelpad=1)
    key = sheet.axes(_LEFT, sheet.height - 0.5, 0.1, 0.1)
    key.plot([0], [0], 'o', color=SKY, fillstyle='none', markersize=4, mew=1.2)
    key.set_axis_off()
    sheet.text(_LEFT + 0.16, sheet.height - 0.45, 'the certain anchor', fontsize=7, va='center')
