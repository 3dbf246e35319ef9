"""What a grid is said to cost: from finished runs, a probe, or a given rate."""

import json

import pytest

from experiments.commands.estimate import disk, rates
from experiments.commands.estimate.cost_key import cost_key
from experiments.commands.estimate.counts import Counts, counts
from experiments.commands.estimate.report import _Place, duration
from experiments.launchers.local import LocalLauncher
from experiments.run import main
from experiments.spec import table_file
from experiments.spec.config import resolve
from experiments.spec.plan import make_plan
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


@pytest.mark.parametrize('name', ['mine.json', 'annotations/instances_train2017.json'])
def test_images_of_a_file_that_is_here(tmp_path, name):
    """Counted, even if it has the name of COCO's: one image of three has no object."""
    run = config('paper', train_dataloader__dataset__ann_file=name)
    names = (
        run['train_dataloader']['dataset']['metainfo']['classes']
        if 'metainfo' in run['train_dataloader']['dataset']
        else None
    )
    path = tmp_path / 'coco' / name
    path.parent.mkdir(parents=True)
    images = [dict(id=number, file_name=f'{number}.jpg', width=64, height=64) for number in range(3)]
    objects = [dict(id=n, image_id=n, category_id=1, bbox=[1, 1, 9, 9], area=81, iscrowd=0) for n in (0, 1)]
    categories = [dict(id=1, name='person')] if names is None else [dict(id=n, name=c) for n, c in enumerate(names, 1)]
    path.write_text(json.dumps(dict(images=images, annotations=objects, categories=categories)))
    assert counts(run, tmp_path).train == 2
    path.write_text('{')
    assert counts(run, tmp_path / 'other') is None or name != 'mine.json'


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
