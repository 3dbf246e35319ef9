"""Dumped configs stand alone: MMDetection's tools and mmengine's Runner train them without the suite."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from tiny_datasets import write_tiny_coco

from experiments.data.prepare import prepare
from experiments.spec.dump import LEFTOVERS, _header, dump_configs, file_name
from experiments.spec.paths import data_paths, substitute_paths
from experiments.spec.plan import make_plan
from experiments.spec.table_file import load_table, select, table_names
from experiments.store.errors import UserError

ONE = {'t_max': '0.6', 't_min': '0.2'}


def plan_of(table, profile='paper', only=None, seeds=(0,), overrides=None):
    table = load_table(table)
    return make_plan(table, select(table, (only or {}).items()), profile, seeds, overrides or {})


def read(path):
    return Config.fromfile(path, import_custom_modules=False).to_dict()


def test_a_file_is_the_resolved_config(tmp_path):
    """Nothing is lost or changed but the variables that nothing reads, the placeholders, the work folder, and that a
    batch is that of one of eight GPUs."""
    plans = [plan_of(name) for name in table_names()]
    written = dump_configs(plans, tmp_path / 'configs', tmp_path / 'data')
    runs = {run_id: run for plan in plans for run_id, run in plan.runs().items()}
    assert len(written) == len(runs) == len({path.name.casefold() for path in written})
    by_id = {run_id: path for path in written for run_id in runs if f'run {run_id}.' in path.read_text()}
    for run_id, run in runs.items():
        config = read(by_id[run_id])
        assert config.pop('work_dir') == f'./work_dirs/{by_id[run_id].stem}'
        wanted = substitute_paths(run.config, data_paths(run.config, tmp_path / 'data'))
        assert 8 * config['train_dataloader'].pop('batch_size') == wanted['train_dataloader'].pop('batch_size') == 16
        assert config == {key: value for key, value in wanted.items() if key not in LEFTOVERS}
        assert '${' not in by_id[run_id].read_text()
        assert config['custom_imports'] == dict(imports=['o2f'], allow_failed_imports=False)


def test_what_is_left_out_is_read_by_nothing():
    """No name that is left out is an argument of mmengine's Runner."""
    import inspect

    from mmengine.runner import Runner

    assert not LEFTOVERS & set(inspect.signature(Runner.__init__).parameters)


def test_the_header_says_which_cells_share_a_file(tmp_path):
    written = dump_configs([plan_of('table5'), plan_of('table2')], tmp_path, tmp_path)
    ours = tmp_path / 'table5-Ours-3convs-1x.py'
    assert written[ours] == ['table5 method=Ours-3convs schedule=1x', 'table2 k=7']
    head = ours.read_text().partition('\n\n')[0].splitlines()
    assert head[0].startswith('# table5 method=Ours-3convs schedule=1x: profile paper, seed 0, run ')
    assert head[1] == '# The same training fills table2 k=7.' and 'python tools/train.py' in ours.read_text()
    assert written[tmp_path / 'table5-FCOS-NMS-1x.py'] == [
        'table5 method=FCOS-NMS schedule=1x', 'table5 method=FCOS schedule=1x'
    ]  # fmt: skip


def test_names_with_line_breaks_are_no_code():
    """MMDetection's tools run a config as Python."""
    [run] = plan_of('table3', only=ONE).runs().values()
    head = _header(run, ["a\nprint('run')\r\x0cprint('run')"])
    assert all(line.startswith('#') for line in head.splitlines() if line) and 'a print' in head


@pytest.mark.parametrize(
    'table, at, name',
    [
        ('table5', dict(method='Ours-3convs', schedule='3x'), 'table5-Ours-3convs-3x'),
        ('table5', dict(method='POTO+3DMF+Aux-Top-k', schedule='1x'), 'table5-POTO+3DMF+Aux-Top-k-1x'),
        ('table3', ONE, 'table3-t_min0.2-t_max0.6'),
        ('table4', dict(metric='Multiply', alpha='0.8'), 'table4-Multiply-alpha0.8'),
        ('table1', dict(la='t=0.1'), 'table1-t_0.1'),
    ],
)
def test_file_names(table, at, name):
    table = load_table(table)
    (cell,) = [cell for cell in table.cells if cell.at == at]
    assert file_name(table, cell, seed=0) == name and file_name(table, cell, seed=3) == f'{name}-seed3'


def test_an_edited_file_is_not_overwritten(tmp_path):
    plan = plan_of('table3', only=ONE)
    (path,) = dump_configs([plan], tmp_path, tmp_path)
    assert list(dump_configs([plan], tmp_path, tmp_path)) == [path]
    path.write_text(path.read_text().replace('lr', 'LR'))
    with pytest.raises(UserError, match='table3-t_min0.2-t_max0.6.py is there already and is another: delete it'):
        dump_configs([plan], tmp_path, tmp_path)


def test_equal_names_get_the_run_id(tmp_path):
    """Where overrides or upper and lower case alone tell runs apart, no file takes another's place."""
    plans = [plan_of('table3', only=ONE), plan_of('table3', only=ONE, overrides={'train_cfg.max_epochs': 1})]
    written = dump_configs(plans, tmp_path, tmp_path)
    ids = [run_id for plan in plans for run_id in plan.runs()]
    assert [path.stem for path in written] == [f'table3-t_min0.2-t_max0.6-{run_id}' for run_id in ids]


def test_the_command(suite, tmp_path):
    part = ('table5', '--profile', 'paper', '--only', 'schedule=3x')
    done = suite.run(*part, '--dump-configs', tmp_path / 'out', check=0)
    lines = done.stdout.splitlines()
    assert len(lines) == len(list((tmp_path / 'out').iterdir())) == 10
    assert f'{tmp_path}/out/table5-Ours-3convs-3x.py: table5 method=Ours-3convs schedule=3x' in lines
    assert str(suite.data) in (tmp_path / 'out' / 'table5-POTO-3x.py').read_text() and not suite.runs.exists()


@pytest.fixture(scope='module')
def smoke_config(data, tmp_path_factory):
    """The dumped config of one cell of the smoke profile, and its data."""
    plan = plan_of('table3', 'smoke', ONE)
    (run,) = plan.runs().values()
    prepare([run.config], data, lambda *_: None, lambda function, *args: function(*args))
    (path,) = dump_configs([plan], tmp_path_factory.mktemp('dumped'), data)
    return path


@pytest.fixture
def elsewhere(tmp_path):
    """An environment in which o2f is found and nothing else of the repository is, and an empty working folder."""
    (tmp_path / 'only').mkdir()
    (tmp_path / 'only' / 'o2f').symlink_to(Path(importlib.util.find_spec('o2f').origin).parent)
    (tmp_path / 'cwd').mkdir()
    return dict(cwd=tmp_path / 'cwd', env={**os.environ, 'PYTHONPATH': str(tmp_path / 'only')})


def run_python(*command, **kwargs):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def trained(cwd, name):
    """The metrics in the log of a training, and its checkpoint, in the work folder that the config names."""
    work = cwd / 'work_dirs' / name
    (log,) = work.glob('*/vis_data/scalars.json')
    last = json.loads(log.read_text().splitlines()[-1])
    assert {'without_nms/AP', 'with_nms/AP'} <= set(last) and (work / 'epoch_1.pth').exists()


@pytest.mark.slow
def test_mmengine_trains_it_without_the_suite(smoke_config, elsewhere):
    """With ``experiments`` made impossible to import."""
    code = (
        'import sys; sys.modules["experiments"] = None\n'
        'from mmengine.config import Config; from mmengine.runner import Runner\n'
        'Runner.from_cfg(Config.fromfile(sys.argv[1])).train()\n'
        'print([name for name in sys.modules if name.startswith(("experiments", "analysis"))])'
    )
    printed = run_python('-P', '-c', code, smoke_config, **elsewhere)
    assert printed.splitlines()[-1] == "['experiments']"
    trained(elsewhere['cwd'], smoke_config.stem)


def mmdet_tool(name):
    return Path(importlib.util.find_spec('mmdet').origin).parent / '.mim' / 'tools' / name


@pytest.mark.slow
def test_mmdetections_tools_take_it(smoke_config, elsewhere):
    """Trained by ``tools/train.py`` and evaluated by ``tools/test.py``, unchanged."""
    run_python('-P', mmdet_tool('train.py'), smoke_config, **elsewhere)
    trained(elsewhere['cwd'], smoke_config.stem)
    checkpoint = elsewhere['cwd'] / 'work_dirs' / smoke_config.stem / 'epoch_1.pth'
    assert 'without_nms/AP' in run_python('-Pm', 'o2f', mmdet_tool('test.py'), smoke_config, checkpoint, **elsewhere)


@pytest.mark.slow
def test_mmdetections_tools_take_one_of_the_paper_profile(elsewhere, tmp_path):
    """MMDetection's browser of datasets draws its images, those of the 3x schedule, as the pipeline leaves them."""
    write_tiny_coco(tmp_path / 'data' / 'coco')
    plan = plan_of('table5', only=dict(method='Ours-3convs', schedule='3x'))
    (path,) = dump_configs([plan], tmp_path / 'configs', tmp_path / 'data')
    browser = mmdet_tool('analysis_tools/browse_dataset.py')
    run_python('-Pm', 'o2f', browser, path, '--not-show', '--output-dir', 'shown', **elsewhere)
    assert len(list((elsewhere['cwd'] / 'shown').rglob('*.jpg'))) == 2
