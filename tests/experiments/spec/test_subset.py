"""``--subset``: the same images each time, in a profile of its own, for both formats of annotations."""

import json
import re

import pytest
from tiny_datasets import write_tiny_coco, write_tiny_crowdhuman

import o2f  # noqa: F401  (before MMDetection)
from experiments.commands.estimate.counts import counts
from experiments.spec.config import compose, resolve
from experiments.spec.dump import dump_configs
from experiments.spec.paths import substitute_paths
from experiments.spec.plan import make_plan
from experiments.spec.subset import split_profile, subset_profile
from experiments.spec.table_file import load_table
from experiments.store.errors import UserError
from experiments.training.datasets import choose, take_subset


def test_which_images_are_chosen_depends_on_their_ids_alone():
    ids = list(range(1000))
    tenth = choose(ids, 0.1)
    assert len(tenth) == 100 and tenth == sorted(set(tenth))
    backwards = {ids[::-1][index] for index in choose(ids[::-1], 0.1)}
    assert backwards == set(tenth) < {*choose(ids, 0.2)}
    assert tenth[:6] == [1, 9, 16, 20, 24, 31]  # for good: results are stored under the share alone
    assert choose(ids[:3], 0.01) and len(choose(['273271,1a', '273275,2b'], 0.5)) == 1


@pytest.mark.parametrize('use', [(), ('crowdhuman',), ('condinst',)])
def test_a_dataset_of_either_format_is_cut(tmp_path, use):
    from mmdet.registry import DATASETS
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    write_tiny_coco(tmp_path / 'coco')
    write_tiny_crowdhuman(tmp_path / 'CrowdHuman')
    whole, half = compose('paper', use, 'test'), compose('paper-subset0.5', use, 'test')
    take_subset(whole)
    take_subset(half)
    lengths = []
    for config in (whole, half):
        dataset = DATASETS.build(substitute_paths(config.train_dataloader.dataset.to_dict(), dict(DATA=str(tmp_path))))
        dataset.full_init()
        lengths.append(len(dataset))
        assert dataset[0]['inputs'].ndim == 3
    assert lengths == [2, 1]
    assert whole.val_dataloader == half.val_dataloader


def test_a_subset_is_another_run_of_as_many_epochs(tmp_path):
    full, tenth = resolve('desk', (), {}, 0, 'test'), resolve('desk-subset0.1', (), {}, 0, 'test')
    assert full.id != tenth.id and 'subset' not in full.config
    assert {**full.config, 'subset': 0.1} == tenth.config
    of_tenth = counts(tenth.config, tmp_path)
    assert (10 * of_tenth.train, of_tenth.epochs) == (counts(full.config, tmp_path).train, 12)


@pytest.mark.parametrize('name', ['desk-subset', 'desk-subset1', 'desk-subset0.10', 'desk-subsetx', 'desk-subset0.0'])
def test_names_that_are_no_subset(name):
    with pytest.raises(UserError, match='share between 0 and 1'):
        split_profile(name)


def test_a_share_that_the_name_would_round_to_all():
    with pytest.raises(UserError, match='--subset 0.99999999: give a share'):
        subset_profile('desk', '0.99999999')
    assert subset_profile('desk', '0.333333333') == 'desk-subset0.333333'


def test_no_config_of_a_subset_for_other_tools(tmp_path):
    table = load_table('table5')
    plan = make_plan(table, table.cells[:1], 'desk-subset0.1', [0], {})
    with pytest.raises(UserError, match='know no --subset'):
        dump_configs([plan], tmp_path, tmp_path)


@pytest.mark.slow
def test_the_command(suite):
    cells = ('--only', 't_max=0.6', '--only', 't_min=0.2', '--profile', 'smoke')
    done = suite.run('table3', *cells, '--subset', '0.5', check=0)
    assert 'profile smoke-subset0.5: a dozen generated images, not COCO, trained on 50 % of the training images' in (
        done.stdout
    )
    assert 'not with results of all training images' in done.stdout
    [folder] = suite.folders('smoke-subset0.5')
    assert json.loads((folder / 'result.json').read_text())['profile'] == 'smoke-subset0.5'
    assert not suite.folders('smoke')
    done = suite.run('table3', *cells, '--dry-run', check=0)
    assert '0 done, 1 to do' in done.stdout and folder.name not in done.stdout
    assert re.search('--subset 2: give a share', suite.run('table3', '--subset', '2', check=2).stderr)
