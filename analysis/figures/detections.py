"""Figs. 7 to 9: what several detectors find on the same images, side by side, duplicates marked."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from analysis import words
from analysis.captures import Detections, Shapes, Shown
from analysis.duplicates import BEST, DUPLICATE, IOU, WRONG, judge
from analysis.figures.layout import Sheet, picture, show
from analysis.figures.style import BLACK, BLUE, GREEN, VERMILLION, WIDE

#: How each kind is drawn: colour, dashes, width in points, and its name in the legend.
STYLES = {
    BEST: (BLUE, '-', 1.3, 'best detection of an object'),
    DUPLICATE: (VERMILLION, (0, (2.5, 1.5)), 1.1, 'duplicate: the object has a better one'),
    WRONG: (BLACK, (0, (1, 1.5)), 0.9, 'no object of its class there'),
}
_EDGE, _GAP, _TOP, _WORDS, _BELOW = 0.06, 0.06, 0.24, 0.2, 0.5  # inches


def detections(capture: Detections) -> Figure:
    """A row per image: the annotations, then what each panel's detector found, and how many of each kind.

    Detections on regions to ignore are not drawn.

    Raises:
        ValueError: an image of the capture is damaged.
    """
    columns = ['Annotated', *capture.panels]
    width = (WIDE - 2 * _EDGE - _GAP * (len(columns) - 1)) / len(columns)
    heights = [width * image.size[0] / image.size[1] for image in capture.images]
    sheet = Sheet(WIDE, _TOP + sum(heights) + _WORDS * len(heights) + _BELOW)
    for column, title in enumerate(columns):
        sheet.text(_EDGE + column * (width + _GAP) + width / 2, _TOP - 0.06, title, fontsize=9, ha='center')
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
    counted = ~image.truth.ignored
    _draw(axes, image.truth, counted, GREEN, '-', 1.2)
    _draw(axes, image.truth, image.truth.ignored, BLACK, (0, (1, 1.5)), 0.8)
    ignored = image.truth.ignored.sum()
    return f'image {image.id}: {counted.sum()} objects' + (f', {ignored} to ignore' if ignored else '')


def _found(axes: Axes, found: Shapes, image: Shown) -> str:
    kind, _ = judge(found, image.truth)
    for each in (WRONG, DUPLICATE, BEST):  # the best ones on top
        _draw(axes, found, kind == each, *STYLES[each][:3])
    best, duplicates, wrong = ((kind == each).sum() for each in (BEST, DUPLICATE, WRONG))
    return f'{best} found, {duplicates} duplicate{"s" * (duplicates != 1)}, {wrong} wrong'


def _draw(axes: Axes, shapes: Shapes, which: np.ndarray, colour: str, dashes: object, width: float) -> None:
    """Outlines, on white ones that set them off from the image; masks are also filled."""
    for i in np.flatnonzero(which):
        for line, edge in ((width + 1.2, 'white'), (width, colour)):
            style = dict(edgecolor=edge, linewidth=line, linestyle='-' if edge == 'white' else dashes)
            if shapes.masks is None:
                x1, y1, x2, y2 = shapes.boxes[i]
                axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **style))
            elif shapes.masks[i].any():
                _contour(axes, shapes.masks[i], edge, line, style['linestyle'])
        if shapes.masks is not None:
            _fill(axes, shapes.masks[i], colour)


def _contour(axes: Axes, mask: np.ndarray, colour: str, width: float, dashes: object) -> None:
    padded = np.pad(mask.astype(np.float32), 1)
    height, width_ = mask.shape
    axes.contour(
        np.arange(width_ + 2) - 0.5,
        np.arange(height + 2) - 0.5,
        padded,
        [0.5],
        colors=[colour],
        linewidths=[width],
        linestyles=[dashes],
    )


def _fill(axes: Axes, mask: np.ndarray, colour: str) -> None:
    from matplotlib.colors import to_rgb

    layer = np.zeros((*mask.shape, 4), np.float32)
    layer[mask] = (*to_rgb(colour), 0.3)
    axes.imshow(layer, extent=(0, mask.shape[1], mask.shape[0], 0), interpolation='nearest')


def _legend(sheet: Sheet) -> None:
    handles = [Line2D([], [], color=GREEN, linestyle='-', linewidth=1.3, label='annotation')]
    handles += [
        Line2D([], [], color=colour, linestyle=dashes, linewidth=width + 0.2, label=label)
        for colour, dashes, width, label in STYLES.values()
    ]
    sheet.figure.legend(
        handles=handles,
        loc='lower center',
        ncols=4,
        fontsize=7.2,
        bbox_to_anchor=(0.5, 0.16 / sheet.height),
        columnspacing=1.4,
        handlelength=2.6,
    )


def _note(capture: Detections) -> str:
    reading = capture.reading.replace('_', ' ').replace('nms', 'NMS')
    return (
        f'{reading.capitalize()}, scores from {capture.score_thr:g}, IoU with an object from {IOU:g}; '
        f'seed {capture.seed}, {words.profile(capture.profile, capture.setting)}.'
    )
