"""What a grid is said to cost: from finished runs, a probe, or a given rate."""

import json

import pytest

from experiments.commands.estimate import disk, rates
from experiments.commands.estimate.cost_key import cost_key
from experiments.commands.estimate.counts import Counts, counts, has_own_files
from experiments.commands.estimate.report import _Place, duration
from experiments.launchers.local import LocalLauncher
from experiments.run import main
from experiments.spec import config as composing
from experiments.spec import table_file
from experiments.spec.config import resolve
from experiments.spec.plan import make_plan
from experiments.store.errors import UserError
from experiments.store.runs import RunFolder


def config(profile, *use, **overrides):
    return resolve(profile, use, {key.replace('__', '.'): value for key, value in overrides.items()}, 0, 'test').config


def test_what_costs_the_same():
    plain = cost_key(config('desk'))
    assert plain == cost_key(config('desk', model__bbox_head__degrees__t_max=0.4))
    assert plain == cost_key(config('desk', model__bbox_head__selection__k=3, optim_wrapper__optimizer__lr=0.001))
    others = [config('desk', 'fcos'), config('desk', '3x'), config('desk', 'r101'), config('desk-subset0.1')]
    others += [
        config('desk', model__bbox_head__centerness_convs=1),
        config('desk', train_dataloader__batch_size=4),
        config('desk', 'every-epoch'),
    ]
    assert len({plain, *map(cost_key, others)}) == 1 + len(others)


def test_images_of_a_run(tmp_path):
    assert counts(config('desk'), tmp_path) == Counts(1080, 2000, 12, 100)
    assert counts(config('paper', '3x'), tmp_path) == Counts(117266, 5000, 36, 5000)
    assert counts(config('paper', 'crowdhuman'), tmp_path) == Counts(15000, 4370, 50, 4370)
    assert counts(config('paper-subset0.1'), tmp_path) == Counts(11727, 5000, 12, 5000)
    own = config('paper', train_dataloader__dataset__ann_file='mine.json')
    assert counts(own, tmp_path) is None


def written(path, images, objects):
    """An annotation file with so many images, of which the first have an object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = dict(
        images=[dict(id=number, file_name=f'{number}.jpg', width=64, height=64) for number in range(images)],
        annotations=[dict(image_id=number, category_id=1, bbox=[1, 1, 9, 9]) for number in range(objects)],
        categories=[dict(id=1, name='person')],
    )
    path.write_text(json.dumps(content))


@pytest.mark.parametrize('name', ['mine.json', 'annotations/instances_train2017.json'])
def test_images_of_a_file_that_is_here(tmp_path, name):
    """Counted, even if it has the name of one of COCO's: an image of three has no object."""
    run = config('paper', train_dataloader__dataset__ann_file=name)
    written(tmp_path / 'coco' / name, 3, 2)
    written(tmp_path / 'coco' / 'annotations' / 'instances_val2017.json', 7, 1)
    seen = counts(run, tmp_path)
    assert (seen.train, seen.val) == (2, 7) and has_own_files(run, tmp_path)
    for harm in ('{', '[]', '{"images": 3}'):
        path = tmp_path / harm / 'coco' / name
        path.parent.mkdir(parents=True)
        path.write_text(harm)
        assert counts(run, tmp_path / harm) is None


def test_a_file_with_as_many_images_as_the_published_one_is_that(tmp_path):
    """Its objects need not be counted, and images are drawn in its place."""
    run = config('paper', 'crowdhuman')
    for split, images in (('train', 15000), ('val', 4370)):
        (tmp_path / 'CrowdHuman').mkdir(exist_ok=True)
        (tmp_path / 'CrowdHuman' / f'annotation_{split}.odgt').write_text('{}\n' * images)
    assert counts(run, tmp_path) == Counts(15000, 4370, 50, 4370) and not has_own_files(run, tmp_path)
    (tmp_path / 'mine' / 'CrowdHuman').mkdir(parents=True)
    (tmp_path / 'mine' / 'CrowdHuman' / 'annotation_train.odgt').write_text('{}\n' * 20)
    assert counts(run, tmp_path / 'mine').train == 20
    with pytest.raises(UserError, match='annotation_val.odgt is missing'):  # own and published ones are not mixed
        has_own_files(run, tmp_path / 'mine')
    (tmp_path / 'mine' / 'CrowdHuman' / 'annotation_val.odgt').write_text('{}\n' * 4)
    assert has_own_files(run, tmp_path / 'mine')


@pytest.mark.parametrize(
    'dataset, says',
    [
        ("dict(ann_file='mine.json')", 'mine.json is missing: put the annotations there'),
        (
            "dict(_delete_=True, type='RepeatDataset', times=2, dataset=dict(type='CocoDataset', ann_file='a.json'))",
            'a dataset that wraps others cannot be probed',
        ),
        ("dict(data_root='{0}/')", 'draws no images in '),
    ],
)
def test_what_cannot_be_probed(tmp_path, monkeypatch, capsys, dataset, says):
    """One line, and nothing is written where the user's data are."""
    monkeypatch.setattr(composing, '_OWN', {})
    (tmp_path / 'data').mkdir()
    path = tmp_path / 'mine.py'
    path.write_text(f"base = 'paper'\ntrain_dataloader = dict(dataset={dataset.format(tmp_path / 'data')})\n")
    asked = ['table5', '--only', 'method=Ours-3convs', '--dry-run', '--profile', str(path)]
    asked += ['--runs', str(tmp_path / 'runs'), '--data', str(tmp_path / 'data')]
    assert main([*asked, '--probe', '1']) == 2
    assert says in capsys.readouterr().err and not list((tmp_path / 'data').iterdir())
    if 'data_root' not in dataset:
        assert main([*asked, '--images-per-second', '9']) == 0
        assert 'how long it takes: not known' in capsys.readouterr().out


def test_runs_like_finished_ones_take_as_long(tmp_path):
    """Two finished runs of a kind, one to do of the same kind, and one of another."""
    done = {seed: resolve('desk', (), {}, seed, 'test') for seed in (0, 1)}
    folders = {}
    for seed, run in done.items():
        folders[run.id] = folder = RunFolder(tmp_path / run.id)
        folder.create(run)
        folder.add_epoch(1, {'without_nms/AP': 0.1}, {}, 10.0 + 2 * seed, 0.0)
        folder.finish(run.id, 'desk', seed, {})
    todo = config('desk', model__bbox_head__degrees__t_max=0.4)
    known = rates.stored({run.id: run.config for run in done.values()}, folders)
    assert known[cost_key(todo)] == rates.EpochCost(11.0, rates.STORED)
    other = config('desk', 'fcos')
    every = {cost_key(each): each for each in (todo, other)}
    found = rates.complete({cost_key(other): other}, known, every, tmp_path)[cost_key(other)]
    assert found == rates.EpochCost(pytest.approx(11.0), rates.LIKE_OTHERS)  # as many images, at the same rate
    crowd = config('desk', 'crowdhuman')
    assert cost_key(crowd) not in rates.complete({cost_key(crowd): crowd}, known, every, tmp_path)


def test_runs_in_turn_and_in_words():
    place = _Place(LocalLauncher(2).capacity)
    assert place.wall([3, 1, 1, 1]) == 3 and place.wall([1, 1, 3]) == 4
    assert [duration(seconds) for seconds in (61, 3700, 90000)] == ['1 min 1 s', '1 h 1 min', '1 d 1 h']


@pytest.mark.slow
def test_room_on_the_disk_is_that_of_real_checkpoints(finished):
    table = table_file.load_table('table1')
    runs = make_plan(table, table.cells[:1], 'smoke', [0], {}).runs()
    [(run_id, run)] = runs.items()
    [room] = disk.disk_usages({run_id: run.config}, finished.data).values()
    folder = finished.runs / 'smoke' / run_id
    there = sum(
        (folder / name).stat().st_size for name in ('epoch_1.pth', 'image_groups.json', 'metrics.json', 'result.json')
    )
    assert 0.8 * there < room.done < 1.25 * there
    assert room.peak > 5 * room.done and disk.needed([room, room], 1) == room.done + room.peak


def test_the_command(capsys, suite):
    asked = ['table3', '--profile', 'smoke', '--dry-run', '--runs', str(suite.runs), '--data', str(suite.data)]
    assert main(asked) == 0
    assert 'add --probe (about two minutes), or --images-per-second N' in capsys.readouterr().out
    assert main([*asked, '--images-per-second', '10', '--jobs', '1']) == 0
    out = capsys.readouterr().out
    # One epoch of 16 images, and 8 evaluated at three times the rate, for each of 16 runs.
    assert '0 min 30 s' in next(line for line in out.splitlines() if line.startswith('table3 '))
    with pytest.raises(SystemExit):
        main(['table3', '--probe'])


@pytest.mark.slow
def test_a_probe_trains_and_evaluates(suite):
    """The real thing, for a moment, on the smallest model there is."""
    cells = ('table3', '--only', 't_max=0.6', '--profile', 'smoke')
    done = suite.run(*cells, '--dry-run', '--probe', '1', '--jobs', '1', check=0)
    assert 'probed table3' in done.stderr and 'images/s, 12 in a step' in done.stderr
    assert '4 run(s) from the probe' in done.stdout
    assert not list(suite.runs.rglob('*'))
