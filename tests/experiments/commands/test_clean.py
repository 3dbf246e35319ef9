"""What ``run.py clean`` removes, and what it never does."""

import fcntl
import json
import shutil

import pytest

from experiments.run import main


@pytest.fixture
def cleaned(finished, tmp_path, capsys):
    """cleaned(*args): cleans a copy of finished runs; gives what it printed."""
    runs = tmp_path / 'runs'
    shutil.copytree(finished.runs, runs)

    def run(*args, code=0):
        assert main(['clean', *args, '--profile', 'smoke', '--runs', str(runs)]) == code
        return capsys.readouterr()

    run.runs = runs / 'smoke'
    return run


def files(folder):
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob('*') if path.is_file()}


def kept(folder):
    """What must stay of a finished run."""
    return {name: size for name, size in files(folder).items() if name.endswith(('.json', '.npz', 'config.py', '.pth'))}


def test_it_says_first_and_removes_then(cleaned):
    before = files(cleaned.runs)
    run = sorted(path.parent for path in cleaned.runs.glob('*/result.json'))[0]
    (run / '.aside.checkpoint').write_bytes(b'x' * 3_000_000)
    (run / 'epoch_0.pth').write_bytes(b'y' * 2_000_000)
    printed = cleaned().out
    assert f'{run.name}  would remove: half-written 3.0 MB, older checkpoints 2.0 MB' in printed
    assert 'would be removed; nothing was: add --yes' in printed
    assert (run / '.aside.checkpoint').exists() and (run / 'epoch_0.pth').exists()
    printed = cleaned('--yes').out
    assert f'{run.name}  removed: half-written 3.0 MB' in printed and printed.endswith('MB removed\n')
    after = files(cleaned.runs)
    gone = before.keys() - after.keys()
    assert gone and all('/20' in name for name in gone) and after.keys() <= before.keys()  # mmengine's logs, by date
    assert cleaned('--yes').out == '0 bytes removed\n'


def test_results_stay_when_weights_go(cleaned, finished):
    cleaned('--yes', '--checkpoints', '--unfinished', '--trackers')
    assert not list(cleaned.runs.glob('*/epoch_*.pth'))
    for result in finished.runs.glob('smoke/*/result.json'):
        mine = cleaned.runs / result.parent.name
        for name in ('result.json', 'metrics.json', 'image_groups.json', 'config.py'):
            assert (mine / name).read_bytes() == (result.parent / name).read_bytes()
    status = main(['table1', '--dry-run', '--profile', 'smoke', '--runs', str(cleaned.runs.parent)])
    assert status == 0


def test_unfinished_runs_begin_anew_only_if_asked(cleaned, capsys):
    run = sorted(path.parent for path in cleaned.runs.glob('*/result.json'))[0]
    (run / 'result.json').unlink()
    before = kept(run)
    cleaned('--yes', '--checkpoints')
    assert {name: size for name, size in kept(run).items() if '/' not in name} == {
        name: size for name, size in before.items() if '/' not in name
    }
    cleaned('--yes', '--unfinished')
    assert not list(run.glob('*.pth')) and not (run / 'metrics.json').exists() and (run / 'config.py').exists()


def test_a_run_in_other_hands_is_left_alone(cleaned):
    run = sorted(path.parent for path in cleaned.runs.glob('*/result.json'))[0]
    (run / 'result.json').unlink()
    (run / '.aside.checkpoint').write_bytes(b'x')
    with open(run / 'lock', 'a') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = files(run)
        assert f'{run.name}  left alone: it is being trained' in cleaned('--yes', '--unfinished').out
        assert files(run) == before
    cleaned('--yes')
    assert not (run / '.aside.checkpoint').exists()


def test_trackers_stay_while_any_run_of_the_profile_is_trained(cleaned):
    """Whatever tables are named: the records belong to all of them."""
    (cleaned.runs / 'tracking').mkdir()
    (cleaned.runs / 'tracking' / 'mlflow.db').write_bytes(b'x')
    other = cleaned.runs / 'abcdefabcdef'
    other.mkdir()
    (other / 'config.py').write_text('')
    with open(other / 'lock', 'a') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert 'tracking  left alone: 1 run(s) are being trained' in cleaned('table1', '--trackers', '--yes').out
        assert (cleaned.runs / 'tracking' / 'mlflow.db').exists()
    assert 'tracking  removed' in cleaned('table1', '--trackers', '--yes').out


def test_a_damaged_result_is_left_alone_and_said(cleaned):
    run = sorted(path.parent for path in cleaned.runs.glob('*/result.json'))[0]
    (run / 'result.json').write_text('{')
    before = files(run)
    printed = cleaned('--yes', '--checkpoints', '--unfinished', code=1)
    assert f'{run.name} left alone: ' in printed.err and files(run) == before


@pytest.mark.parametrize('option', [('--seeds', '7'), ('--only', 't_max=0.6'), ('--set', 'a=1')])
def test_options_that_select_need_a_table(cleaned, option, capsys):
    """They would be ignored, and the whole profile be cleaned."""
    before = files(cleaned.runs)
    with pytest.raises(SystemExit):
        cleaned(*option, '--unfinished', '--checkpoints', '--yes')
    assert 'name a table, or leave them out' in capsys.readouterr().err and files(cleaned.runs) == before


def test_a_folder_without_runs(tmp_path, capsys):
    assert main(['clean', '--runs', str(tmp_path / 'none')]) == 2
    assert f'there are no runs in {tmp_path / "none" / "desk"}' in capsys.readouterr().err


def test_tables_may_be_named_and_options_must_fit(cleaned, capsys):
    cleaned('table9', '--yes', '--checkpoints')
    plan = json.loads((cleaned.runs / 'tables' / 'table9.json').read_text())
    mine = {run for cell in plan['cells'] for run in cell['runs'].values()}
    assert {path.parent.name for path in cleaned.runs.glob('*/result.json')} - mine == {
        path.parent.name for path in cleaned.runs.glob('*/epoch_*.pth')
    }
    with pytest.raises(SystemExit):
        main(['table3', '--yes'])
    assert 'unrecognized arguments: --yes' in capsys.readouterr().err
