"""The figures show what is stored, can be told apart without colour, and nothing in them overlaps."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.contour import QuadContourSet
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from stored_files import axis, run_id

from analysis import figures
from analysis.figures import schedule
from analysis.figures.style import BLUE, VERMILLION, styled
from experiments.store.errors import UserError

LOSSES = dict(losses=lambda number, epoch: {'loss': 3 / epoch, 'loss_cls': 1 / epoch, 'loss_bbox': 2 / epoch + number})
POSITIVES = dict(
    positives=lambda number, epoch: {'certain': 1.0, 'ambiguous': 5.0 * number, 'degree': 1 + number / epoch}
)
MECHANISM = dict(
    metrics=lambda number, epoch: {
        'without_nms/duplicates': 3.0 / epoch + number,
        'without_nms/score_margin': 0.9 - 0.1 * number,
        'with_nms/duplicates': 0.0,
    }
)


def draw(store, name, warn=lambda line: None):
    return figures.draw(name, store.runs, 'desk', warn)


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith('_')}


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_fig5_has_both_readings_of_both_methods_and_their_gap(store):
    store.fig5()
    top, bottom = draw(store, 'fig5').axes
    shown = lines(top)
    assert list(shown) == ['o2o without NMS', 'o2o with NMS', 'o2f without NMS', 'o2f with NMS']
    np.testing.assert_allclose(shown['o2f with NMS'].get_data(), [range(1, 13), np.arange(1, 13) * 2 + 1], atol=1e-9)
    np.testing.assert_allclose(lines(bottom)['o2f'].get_ydata(), np.ones(12), atol=1e-9)
    np.testing.assert_allclose(lines(bottom)['o2o'].get_ydata(), np.zeros(12), atol=1e-9)
    assert not top.collections and 'AP in %' == top.get_ylabel()


def test_fig5_shows_the_mean_of_the_seeds_and_a_band_over_them(store):
    store.fig5(seeds=(0, 1, 2))
    figure = draw(store, 'fig5')
    line = lines(figure.axes[0])['o2o without NMS']
    np.testing.assert_allclose(line.get_ydata()[0], 2.1)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    at_first = band[band[:, 0] == 1][:, 1]
    np.testing.assert_allclose([at_first.min(), at_first.max()], [2.0, 2.2])
    small_print = figure.get_supxlabel()
    assert small_print == (
        'Seeds 0, 1, 2, profile desk: generated scenes, not COCO\n'
        'Line: mean; band: from the smallest to the largest seed'
    )


def test_a_run_that_stopped_early_or_is_broken_is_no_obstacle(store):
    store.fig5(seeds=(0, 1))
    store.epochs(1, [(0.1, 0.2)], seed=1)
    store.write(f'desk/{run_id(0, 1)}/metrics.json', '{"schema": 1, "epochs": [{"epoch": 2, "metrics": {}}]}')
    warnings = []
    line = lines(draw(store, 'fig5', warnings.append).axes[0])['o2f without NMS']
    np.testing.assert_allclose(line.get_ydata()[:2], [(2 + 10) / 2, 4])
    assert len(warnings) == 1 and 'epochs are not numbered from 1 on: left out' in warnings[0]


def test_curves_of_a_table_of_two_axes_are_a_panel_per_column(store):
    store.plan()
    for number in range(4):
        store.epochs(number, [(0.1 * number, 0.5), (0.1 * number + 0.01, 0.6)])
    figure = draw(store, 'curves-table3')
    left, right = figure.axes
    assert [left.get_title(), right.get_title()] == [r'$T^{\mathrm{max}}$ 0.7', r'$T^{\mathrm{max}}$ 0.6']
    np.testing.assert_allclose(lines(right)[r'$T^{\mathrm{min}}$ 0.2'].get_ydata(), [30, 31])
    assert left.get_ylabel() == 'AP in %, without NMS'
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [r'$T^{\mathrm{min}}$ 0.4', r'$T^{\mathrm{min}}$ 0.2']


def test_curves_show_each_cell_in_its_reading(store):
    """Both rows of FCOS are one training."""
    store.table5()
    for number in (0, 1, 2, 3):
        store.epochs(number, [(0.1, 0.3)] * 36)
    left, right = draw(store, 'curves-table5').axes
    assert list(lines(left)) == ['FCOS [48] o2m with NMS', 'FCOS [48] o2m', 'Ours o2f']
    assert lines(left)['FCOS [48] o2m with NMS'].get_ydata()[0] == pytest.approx(30)
    assert lines(right)['FCOS [48] o2m'].get_ydata()[0] == pytest.approx(10) and right.get_title() == '3×'


def test_losses_have_a_row_each_and_the_sum_comes_last(store):
    store.fig5(**LOSSES)
    rows = draw(store, 'losses-fig5').axes
    assert [axes.get_ylabel() for axes in rows] == ['loss_cls', 'loss_bbox', 'loss']
    np.testing.assert_allclose(lines(rows[1])['o2f'].get_ydata()[:2], [3, 2])


def test_positives_are_shown_by_kind(store):
    store.fig5(**POSITIVES)
    (axes,) = draw(store, 'positives').axes
    shown = lines(axes)
    assert len(shown) == 6
    np.testing.assert_allclose(shown['o2f: ambiguous anchors'].get_ydata(), [5] * 12)
    np.testing.assert_allclose(shown['o2f: sum of degrees'].get_ydata()[:2], [2, 1.5])


def test_the_mechanism_is_shown_without_nms(store):
    store.fig5(**MECHANISM)
    duplicates, margin = draw(store, 'mechanism').axes
    assert [axes.get_ylabel() for axes in (duplicates, margin)] == ['duplicates per object', 'score margin']
    np.testing.assert_allclose(lines(duplicates)['o2f'].get_ydata()[:3], [4, 2.5, 2])
    np.testing.assert_allclose(lines(margin)['o2o'].get_ydata(), [0.9] * 12)


@pytest.mark.parametrize(
    'name, part',
    [('losses-fig5', 'losses'), ('positives', 'positives'), ('mechanism', 'duplicates and no score margin')],
)
def test_older_runs_without_losses_or_positives_say_what_makes_them(store, name, part):
    store.fig5()
    with pytest.raises(UserError) as caught:
        draw(store, name)
    command = 'python experiments/run.py fig5 --runs OTHER'
    assert str(caught.value) == f'the stored runs have no {part}: run {command}, then this on that folder'


def test_the_gap_is_over_t_min_with_a_line_per_t_max(store):
    store.plan(setting='COCO val2017')
    store.all_results()
    left, right = draw(store, 'gap').axes
    for axes, expected in ((left, [0.36, 1.0]), (right, [0.4, 1.2])):
        x, y = map(list, axes.containers[0].lines[0].get_data())
        np.testing.assert_allclose(x, [0.2, 0.4])
        np.testing.assert_allclose(y, expected, atol=1e-9)
        assert [bar.get_label() for bar in axes.containers] == [r'$T^{\mathrm{max}}$ 0.7', r'$T^{\mathrm{max}}$ 0.6']
    assert right.get_title() == 'Paper (COCO val2017)'


def test_the_gap_of_several_seeds_has_bars_from_the_smallest_to_the_largest(store):
    store.plan(seeds=(0, 1))
    store.all_results()
    store.result(0, 0.271, 0.291, seed=1)
    axes = draw(store, 'gap').axes[0]
    line, _, (bars,) = axes.containers[0].lines
    np.testing.assert_allclose(line.get_ydata()[1], 1.5)
    np.testing.assert_allclose(bars.get_segments()[1][:, 1], [1.0, 2.0])


def test_the_schedule_is_that_of_the_method():
    from o2f.assign.degrees import LinearDegrees

    left, right = schedule.degree_schedule().axes
    for t_max, line in zip((0.7, 0.6, 0.5, 0.4), left.get_lines()):
        degrees = LinearDegrees(t_max, 0.2)
        for epoch, t in zip(*line.get_data()):
            degrees.set_epoch(int(epoch) - 1, 12)
            assert t == pytest.approx(degrees.t)
    assert [line.get_ydata()[-1] for line in right.get_lines()][::3] == pytest.approx([0.6, 0.2])


def test_fig6_has_scores_and_degrees_of_each_instance_stage_and_level(store):
    arrays = store.assignment()
    figure = draw(store, 'fig6')
    maps = [axes.get_images()[0].get_array() for axes in figure.axes if axes.get_images()]
    maps = [map_ for map_ in maps if map_.shape in ((4, 4), (2, 2), (1, 1))]
    assert len(maps) == 2 * 2 * 2 * 2  # instances, scores and degrees, stages, and the two levels with positives
    expected = [
        values[i, start:stop].reshape(side, side)
        for i in (0, 1)
        for values_of in ('scores', 'degrees')
        for values in (arrays[f'stage0.{values_of}'], arrays[f'stage1.{values_of}'])
        for start, stop, side in ((0, 16, 4), (16, 20, 2))
    ]
    for map_, values in zip(maps, expected):
        np.testing.assert_allclose(map_, values.astype(np.float32))
    rings = [line.get_xydata().tolist() for axes in figure.axes for line in axes.get_lines() if len(line.get_xydata())]
    assert [[12, 12]] in rings and [[8, 8]] in rings  # anchor 5 of stride 8; anchor 16 is the first of stride 16
    assert {'P3', 'P4'} <= set(texts(figure)) and 'P5' not in texts(figure)
    assert 'Early: epoch 3 of 12, $T^j$ = 0.53' in texts(figure)


def test_duplicates_are_marked_and_counted(store):
    store.detections()
    figure = draw(store, 'fig7')
    annotated, first, second = (axes for axes in figure.axes if axes.get_images())
    boxes = [patch for patch in first.patches if isinstance(patch, Rectangle)]
    dashed = [box for box in boxes if box.get_edgecolor()[:3] == pytest.approx(rgb(VERMILLION))]
    assert [box.get_bbox().extents.tolist() for box in dashed] == [[3, 2, 22, 22]] and dashed[0].get_linestyle() != '-'
    solid = [box for box in boxes if box.get_edgecolor()[:3] == pytest.approx(rgb(BLUE))]
    assert len(solid) == 2 and {box.get_linestyle() for box in solid} == {'-'}
    assert not second.patches and len(annotated.patches) == 2 * 2  # each on a white outline
    assert {'2 found, 1 duplicate, 1 wrong', '0 found, 0 duplicates, 0 wrong', '2 objects'} <= set(texts(figure))


def test_masks_are_drawn_as_masks(store):
    store.detections('fig8', masks=True)
    first = [axes for axes in draw(store, 'fig8').axes if axes.get_images()][1]
    # Two on white lines, one that is wrong on a white line, and a duplicate; the two best are filled.
    assert len([each for each in first.collections if isinstance(each, QuadContourSet)]) == 2 * 2 + 2 + 1
    assert not first.patches and len(first.get_images()) == 1 + 2


def rgb(colour):
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


@pytest.fixture
def everything(store):
    """What all figures need, with several seeds."""
    store.fig5(seeds=(0, 1, 2), **LOSSES, **POSITIVES, **MECHANISM)
    values = ['0.7', '0.6', '0.5', '0.4']
    content = store.plan(
        seeds=(0, 1),
        setting='COCO val2017, ResNet-50, 12 epochs',
        rows=[axis('t_min', 'T^min', *values[::-1])],
        columns=[axis('t_max', 'T^max', *values)],
    )
    for i, cell in enumerate(content['cells']):
        cell['paper'] = {'AP': '38.0/39.0'}
        for seed in (0, 1):
            store.result(i, 0.3, 0.31 + 0.001 * i + 0.002 * seed, seed=seed)
            store.epochs(i, [(0.01 * i, 0.2)] * 12, seed)
    store.fig5(seeds=(0, 1, 2), **LOSSES, **POSITIVES, **MECHANISM)
    long = axis('method', 'Method', *(f'A detector with a long name {i}' for i in range(11)))
    store.plan('table5', rows=[long], columns=[axis('schedule', '', '1x', '3x')])
    store.assignment()
    store.detections()
    store.detections('fig8', masks=True)
    store.detections('fig9')
    return store


@pytest.mark.filterwarnings('error')
def test_no_texts_overlap_or_leave_the_figure(everything, monkeypatch):
    drawn, draw_text = {}, Text.draw

    def record(text, renderer):
        drawn[id(text)] = text
        draw_text(text, renderer)

    monkeypatch.setattr(Text, 'draw', record)
    for name in figures.entries(everything.runs, 'desk'):
        if name not in ('losses-table3', 'losses-table5'):  # there are none
            drawn.clear()
            figure = draw(everything, name)
            with styled():
                FigureCanvasAgg(figure).draw()
            visible = [text for text in drawn.values() if text.get_visible() and text.get_text().strip()]
            shown = [(text.get_text(), text.get_window_extent()) for text in visible]
            assert len(shown) > 4
            for text, box in shown:
                assert 0 <= box.x0 < box.x1 <= figure.bbox.x1 and 0 <= box.y0 < box.y1 <= figure.bbox.y1, (name, text)
            for (text, box), (other, other_box) in combinations(shown, 2):
                assert not box.padded(-1).overlaps(other_box.padded(-1)), (name, text, other)


def test_lines_differ_in_more_than_colour(everything):
    for name in ('fig5', 'positives', 'curves-table3', 'curves-table5', 'schedule', 'losses-fig5'):
        for axes in draw(everything, name).axes:
            for one, other in combinations(lines(axes).values(), 2):
                assert one.get_marker() != other.get_marker(), name


def test_files_are_the_same_each_time_and_have_their_fonts(store):
    store.fig5()
    store.detections('fig8', masks=True)
    for name, kind, begin in (('fig5', 'pdf', b'%PDF'), ('fig8', 'png', b'\x89PNG'), ('fig5', 'svg', b'<?xml')):
        content = figures.save(draw(store, name), kind)
        assert content.startswith(begin) and content == figures.save(draw(store, name), kind)
        if kind == 'pdf':
            assert b'CreationDate' not in content and b'/Type3' not in content and b'/CIDFontType2' in content
