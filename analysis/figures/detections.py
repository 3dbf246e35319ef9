"""Figs. 7 to 9: detections of several detectors on the same images, side by side, with duplicates marked."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from analysis.figures.style import BLACK, BLUE, GREEN, VERMILLION, WIDE, Sheet, picture, show
from analysis.tables.notes import profile as profile_text
from experiments.qualitative.duplicates import BEST, DUPLICATE, IOU, WRONG, judge
from experiments.store.qualitative import QualitativeDetections, Shapes, Shown, ShownPanel


@dataclass(frozen=True)
class Style:
    """The style of a kind of detection: colour, dashes, width in points, label in the legend, whether it has a white
    halo, and whether masks are filled."""

    colour: str
    dashes: Any
    width: float
    label: str
    halo: bool = True
    filled: bool = False


ANNOTATION = Style(GREEN, '-', 1.2, 'annotation', filled=True)
_IGNORED = Style(BLACK, (0, (1, 1.5)), 0.8, 'to ignore')
#: Styles in drawing order. A duplicate's dashes are drawn over the line of the better detection.
STYLES = {
    WRONG: Style(BLACK, (0, (1, 1.5)), 0.9, 'no object of its class there'),
    BEST: Style(BLUE, '-', 1.3, 'best detection of an object', filled=True),
    DUPLICATE: Style(VERMILLION, (0, (2.5, 1.5)), 1.1, 'duplicate: the object has a better one', halo=False),
}
_EDGE, _GAP, _TOP, _WORDS, _BELOW = 0.06, 0.06, 0.38, 0.2, 0.6  # inches


def detections(capture: QualitativeDetections) -> Figure:
    """A row per image: the annotations, then the detections of each panel, and how many there are of each kind.

    Detections on ignored regions are not drawn.

    Raises:
        ValueError: a stored image is damaged.
    """
    columns = [('Annotated', ''), *((panel.label, _cut(panel, capture)) for panel in capture.panels)]
    width = (WIDE - 2 * _EDGE - _GAP * (len(columns) - 1)) / len(columns)
    heights = [width * image.size[0] / image.size[1] for image in capture.images]
    sheet = Sheet(WIDE, _TOP + sum(heights) + _WORDS * len(heights) + _BELOW)
    for column, (title, cut) in enumerate(columns):
        middle = _EDGE + column * (width + _GAP) + width / 2
        sheet.text(middle, 0.18, title, fontsize=9, ha='center')
        sheet.text(middle, _TOP - 0.05, cut, fontsize=6.8, ha='center')
    top = _TOP
    for image, height in zip(capture.images, heights):
        pixels = picture(image.file)
        for column, found in enumerate([None, *image.found]):
            x = _EDGE + column * (width + _GAP)
            axes = sheet.axes(x, top, width, height)
            show(axes, pixels, pale=0.25)
            text = _annotated(axes, image) if found is None else _found(axes, found, image)
            sheet.text(x + width / 2, top + height + 0.04, text, fontsize=6.8, ha='center', va='top')
        top += height + _WORDS
    _legend(sheet)
    sheet.text(_EDGE, sheet.height - 0.05, _note(capture), fontsize=6.5, color='0.35', va='bottom')
    return sheet.figure


def _annotated(axes: Axes, image: Shown) -> str:
    assert image.truth.ignored is not None  # annotations always have it
    counted = ~image.truth.ignored
    _draw(axes, image.truth, counted, ANNOTATION, _scale(image))
    _draw(axes, image.truth, image.truth.ignored, _IGNORED, _scale(image))
    ignored = image.truth.ignored.sum()
    return f'{counted.sum()} objects' + (f', {ignored} to ignore' if ignored else '')


def _found(axes: Axes, found: Shapes, image: Shown) -> str:
    kind, _ = judge(found, image.truth)
    for each, style in STYLES.items():
        _draw(axes, found, kind == each, style, _scale(image))
    best, duplicates, wrong = (int((kind == each).sum()) for each in (BEST, DUPLICATE, WRONG))
    return f'{best} found, {duplicates} duplicate{"s" * (duplicates != 1)}, {wrong} wrong'


def _draw(axes: Axes, shapes: Shapes, which: np.ndarray, style: Style, scale: float) -> None:
    """Draw outlines, ``scale`` times as wide as usual. ``style`` says whether they have a white halo, which sets them
    off from the image, and whether masks are filled."""
    width = scale * style.width
    for i in np.flatnonzero(which):
        lines = [dict(edgecolor='white', linewidth=width + 1.2 * scale, linestyle='-')] * style.halo
        for line in [*lines, dict(edgecolor=style.colour, linewidth=width, linestyle=style.dashes)]:
            if shapes.masks is None:
                x1, y1, x2, y2 = shapes.boxes[i]
                axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **line))
            elif shapes.masks[i].any():
                _contour(axes, shapes.masks[i], **line)
        if shapes.masks is not None and style.filled:
            layer = np.zeros((*shapes.masks[i].shape, 4), np.float32)
            layer[shapes.masks[i]] = to_rgba(style.colour, 0.3)
            axes.imshow(layer, extent=(0, layer.shape[1], layer.shape[0], 0), interpolation='nearest')


def _scale(image: Shown) -> float:
    """The factor of line widths, which is smaller in a crowd."""
    return 1.0 if len(image.truth.boxes) <= 10 else 0.7


def _contour(axes: Axes, mask: np.ndarray, edgecolor: str, linewidth: float, linestyle: object) -> None:
    """Draw the contour of a mask, including parts on the edge of the image."""
    padded = np.pad(mask.astype(np.float32), 1)
    x, y = (np.arange(side) - 0.5 for side in padded.shape[::-1])
    axes.contour(x, y, padded, [0.5], colors=[edgecolor], linewidths=[linewidth], linestyles=[linestyle])


def _legend(sheet: Sheet) -> None:
    handles = [
        Line2D([], [], color=style.colour, linestyle=style.dashes, linewidth=style.width + 0.2, label=style.label)
        for style in (ANNOTATION, STYLES[BEST], STYLES[DUPLICATE], STYLES[WRONG])
    ]
    place = dict(loc='lower center', bbox_to_anchor=(0.5, 0.27 / sheet.height))
    sheet.figure.legend(handles=handles, ncols=4, fontsize=7.2, columnspacing=1.4, handlelength=2.6, **place)


def _cut(panel: ShownPanel, capture: QualitativeDetections) -> str:
    """'scores from 0.26', and the share of found objects if the detector never reaches the recall of the figure."""
    short = panel.recall < capture.recall
    return f'scores from {panel.score_thr:.2f}' + (f', {100 * panel.recall:.0f} % found' if short else '')


def _note(capture: QualitativeDetections) -> str:
    reading = capture.reading.replace('_', ' ').replace('nms', 'NMS')
    ids = ', '.join(str(image.id) for image in capture.images)
    return (
        f'W{reading[1:]}. Each detector is cut where it finds {100 * capture.recall:.0f} % of all objects of the '
        f'validation set, with an IoU from {IOU:g}.\n'
        f'Images {ids}; seed {capture.seed}, {profile_text(capture.profile, capture.setting)}.'
    )
