"""The studies: they resolve in every profile, say what they claim before a run, and take a row without Python."""

import pytest

from experiments.spec.config import resolve
from experiments.spec.table_file import STUDIES, load_table, study_names, table_names
from experiments.store.errors import UserError
from o2f.assign.schedule import read_schedule

NAMES = ['crowding', 'paper-text', 'real', 'scaling', 'successors']
ROW = """
      - name: one-to-one+top-20-falling
        describe: [A, "top-20, weight 1 to 0"]
        use: [dual]
        set:
          model.bbox_head.selection.k: 0
          model.bbox_head.second.selection.k: 20
          model.bbox_head.second.weight: {first: 1.0, last: 0.0, shape: cosine}
"""


def resolved(cell, profile, name):
    return resolve(profile, cell.use, cell.overrides, 0, name)


def default(profile):
    return resolve(profile, (), {}, 0, 'a test').id


def test_studies_are_listed_apart_from_the_papers_tables():
    assert study_names() == NAMES and not set(NAMES) & set(table_names())
    assert all(load_table(name).question for name in NAMES)
    assert not any(load_table(name).question for name in table_names())


@pytest.mark.parametrize('profile', ['desk', 'smoke', 'paper'])
@pytest.mark.parametrize('name', NAMES)
def test_every_cell_resolves(name, profile):
    """To a training of its own, except where a cell is another reading of one."""
    table = load_table(name)
    if name == 'crowding' and profile == 'paper':
        with pytest.raises(UserError, match="unknown key 'generate.scenes"):
            resolved(table.cells[0], profile, name)
        return
    runs = {cell.label: resolved(cell, profile, name).id for cell in table.cells}
    assert len(set(runs.values())) == len(runs) - (name == 'real')


def test_rows_that_tables_have_are_shared_with_them():
    """The default is trained once, whichever table or study asks for it first."""
    at = {
        'successors': {'method': 'one-to-few', 'schedule': '1x'},
        'paper-text': {'k': 'released', 'ambiguous': 'released', 'box': 'released'},
        'real': {'method': 'Ours'},
        'scaling': {'strides': '4-32', 'method': 'Ours', 'schedule': '1x'},
        'crowding': {'method': 'Ours', 'overlap': 'desk'},
    }
    for name, place in at.items():
        assert resolved(load_table(name).cell_at(place), 'desk', name).id == default('desk'), name
    paper = load_table('scaling').cell_at({'strides': '8-32', 'method': 'Ours', 'schedule': '1x'})
    assert resolved(paper, 'paper', 'scaling').id == default('paper')


@pytest.mark.parametrize('profile', ['desk', 'paper'])
def test_levels_and_ranges_fit_the_strides(profile):
    for cell in load_table('scaling').cells:
        model = resolved(cell, profile, 'scaling').config['model']
        head, levels = model['bbox_head'], model['neck']['num_outs']
        assert len(head['strides']) == levels
        assert head['strides'][0] == (8 if cell.at['strides'] == '8-32' else 4)
        assert model['neck']['start_level'] == (1 if cell.at['strides'] == '8-32' else 0)
        if cell.at['method'] == 'FCOS':
            ranges = head['regress_ranges']
            assert len(ranges) == levels
            assert all(before[1] == after[0] for before, after in zip(ranges, ranges[1:]))


def test_what_the_rows_of_successors_set():
    """Second branches differ from the default one in what the row says, and from one-to-one in nothing else."""
    table = load_table('successors')
    heads = {
        cell.at['method']: resolved(cell, 'desk', 'successors').config['model']['bbox_head']
        for cell in table.cells
        if cell.at['schedule'] == '1x'
    }
    alone, dual = heads['one-to-one'], heads['one-to-one+top-10']
    assert {key: value for key, value in dual.items() if key != 'second'} == alone
    second = dual['second']
    assert (second['selection']['k'], second['degrees']['t'], second['shares']) == (10, 1.0, 'towers')
    for name, changed in {
        'one-to-one+inconsistent': {'selection'},
        'one-to-one+fcos': {'selection'},
        'one-to-one+own-towers': {'shares'},
        'one-to-one+own-towers-detached': {'shares', 'stop_gradient'},
        'one-to-one+same-predictors': {'shares', 'score_factor', 'loss_bbox'},
        'one-to-one+weights': {'weight', 'main_weight'},
    }.items():
        assert {key: value for key, value in heads[name].items() if key != 'second'} == alone
        assert {key for key in second if heads[name]['second'][key] != second[key]} == changed, name
    weights = heads['one-to-one+weights']['second']
    assert all(weights['weight'][end] + weights['main_weight'][end] == pytest.approx(2) for end in ('first', 'last'))
    few = {key: value for key, value in heads['one-to-few+top-10'].items() if key != 'second'}
    assert few == heads['one-to-few'] and heads['one-to-few+top-10']['second'] == second


def test_a_reader_adds_a_row_without_python(tmp_path):
    """The lines of docs/studies.md, put after the last row."""
    text = (STUDIES / 'successors.yaml').read_text()
    assert ROW.strip() in (STUDIES.parents[1] / 'docs' / 'studies.md').read_text()
    path = tmp_path / 'successors.yaml'
    path.write_text(text.replace('\n  schedule:\n', f'{ROW.rstrip()}\n  schedule:\n', 1))
    table = load_table(str(path))
    assert len(table.cells) == len(load_table('successors').cells) + 2
    cell = table.cell_at({'method': 'one-to-one+top-20-falling', 'schedule': '1x'})
    second = resolved(cell, 'desk', 'successors').config['model']['bbox_head']['second']
    assert second['selection']['k'] == 20 and second['weight'] == dict(first=1.0, last=0.0, shape='cosine')


def test_second_branches_with_predictors_of_their_own_show_their_ap():
    table = load_table('successors')
    for cell in table.cells:
        config = resolved(cell, 'desk', 'successors').config
        own = config['model']['bbox_head'].get('second', {}).get('shares', 'predictors') != 'predictors'
        assert ('second' in cell.keys) == own == config['val_evaluator'].get('second', False), cell.label


def test_the_claim_with_a_control_compares_shapes_of_t_with_one_mean():
    [claim] = [each for each in load_table('successors').claims if each.control]
    assert {each.right.at['method'] for each in claim.comparisons} == {'T-constant'}
    table = load_table('successors')
    for side in (side for each in claim.comparisons for side in (each.left, each.right)):
        degrees = resolved(table.cell_at(side.at), 'desk', 'successors').config['model']['bbox_head']['degrees']
        schedule = read_schedule(degrees.get('t') or dict(first=degrees['t_max'], last=degrees['t_min']), 't')
        assert sum(schedule.at(epoch, 36) for epoch in range(36)) / 36 == pytest.approx(0.4), side.at


def test_claims_within_points_are_two_comparisons():
    [claim] = [claim for claim in load_table('paper-text').claims if claim.id == 'text-equals-code']
    assert [(each.relation, each.right.plus) for each in claim.comparisons] == [('greater', -0.9), ('less', 0.9)]
    assert claim.quote == ''


@pytest.mark.parametrize(('profile', 'size', 'stride'), [('paper', 640, 8), ('desk', 72, 4)])
def test_scores_of_yolov10_start_as_in_its_code(profile, size, stride):
    """At 5 objects in an image, in both branches, so that the many negatives of plain BCE are quiet at first."""
    import o2f  # isort: skip  # noqa: F401  (registers the head)
    from mmdet.registry import MODELS

    cell = load_table('successors').cell_at({'method': 'YOLOv10', 'schedule': '1x'})
    config = resolved(cell, profile, 'successors').config['model']['bbox_head']
    start = 5 / config['num_classes'] / (size / stride) ** 2
    head = MODELS.build(dict(config, train_cfg=None, test_cfg=None))
    head.init_weights()
    for branch in (head, head.second):
        score = branch.conv_cls.bias.sigmoid().mean().item()
        assert config['strides'][0] == stride and score == pytest.approx(start, rel=0.03)
