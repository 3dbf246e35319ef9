"""What the tests of the suite share: a runs folder and the smoke profile's data, made once."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent))  # tiny_datasets is a plain module

#: The folders that a command knows, where it is not both.
TAKES = {('evaluate',): ['data'], ('status',): ['runs'], ('clean',): ['runs']}


class Suite:
    """experiments/run.py as a user calls it, on folders of its own."""

    def __init__(self, runs, data):
        self.runs = runs
        self.data = data

    def command(self, *args):
        known = dict(runs=self.runs, data=self.data)
        folders = [word for name in TAKES.get(args[:1], known) for word in (f'--{name}', known[name])]
        return [sys.executable, str(ROOT / 'experiments' / 'run.py'), *map(str, (*args, *folders))]

    def run(self, *args, check=None, **kwargs):
        """Run to the end; with ``check`` the exit status must be that."""
        done = subprocess.run(self.command(*args), capture_output=True, text=True, cwd=os.sep, **kwargs)
        assert check is None or done.returncode == check, done.stderr + done.stdout
        return done

    def start(self, *args, **kwargs):
        return subprocess.Popen(
            self.command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs
        )

    def folders(self, profile='smoke'):
        return sorted(path.parent for path in (self.runs / profile).glob('*/config.py'))


@pytest.fixture(scope='session')
def coco_tiny(unmet):
    """160 images of COCO 2017 with their annotations, in COCO's own layout; not part of the repository."""
    folder = ROOT.parent / 'shared' / 'data' / 'coco-tiny'
    if not folder.exists():
        unmet('shared/data/coco-tiny is not beside this repository')
    return folder


@pytest.fixture(scope='session')
def data(tmp_path_factory):
    """The data folder of the smoke profile, filled by the first run that needs it."""
    return tmp_path_factory.mktemp('data')


@pytest.fixture(scope='session')
def suite_at(data):
    """suite_at(runs): a suite with this folder of runs; the data are shared."""
    return lambda runs: Suite(runs, data)


@pytest.fixture
def suite(tmp_path, data):
    """A suite without runs; the data are shared."""
    return Suite(tmp_path / 'runs', data)


@pytest.fixture(scope='session')
def trained(tmp_path_factory, worker_id):
    """trained(*tables): a suite in which the smoke profile has filled these tables, and what that command printed.

    Without names, they are tables of boxes, of a crowd and of masks, and Fig. 5, whose runs show each epoch. The
    processes that test side by side (-n) share it, so no test may change it.
    """
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == 'master' else base.parent

    def fill(*tables):
        tables = tables or ('table1', 'table8', 'table9', 'fig5')
        folder = base / 'trained' / '-'.join(tables)
        folder.mkdir(parents=True, exist_ok=True)
        suite, printed = Suite(folder / 'runs', folder.parent / 'data'), folder / 'printed.txt'
        with open(folder / 'lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not printed.exists():
                printed.write_text(suite.run(*tables, '--profile', 'smoke', check=0).stdout)
        suite.printed, suite.tables = printed.read_text(), tables
        return suite

    return fill


@pytest.fixture(scope='session')
def own_copy(tmp_path_factory):
    """own_copy(suite): the same with a copy of the runs, which tests may change; the data stay shared."""

    def copy(suite):
        mine = Suite(tmp_path_factory.mktemp('copy') / 'runs', suite.data)
        shutil.copytree(suite.runs, mine.runs)
        mine.printed, mine.tables = suite.printed, suite.tables
        return mine

    return copy


@pytest.fixture(scope='module')
def finished(trained, own_copy):
    """A suite with a table of each kind, for the tests of one file."""
    return own_copy(trained())


@pytest.fixture(scope='session')
def need_ray(unmet):
    """Skips or fails, as ``unmet`` does, where Ray Tune is not installed."""
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    try:
        import ray.tune  # noqa: F401
    except ImportError:
        unmet('ray[tune] is not installed')


@pytest.fixture(scope='session')
def ray_folder():
    """Where Ray keeps its sockets and logs; the names of sockets must be short."""
    folder = tempfile.mkdtemp(prefix='o2f-ray-', dir='/tmp')
    yield folder
    shutil.rmtree(folder)
