"""A real Slurm for the tests of this folder: one node on loopback, started once by slurm/dev-cluster.sh."""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # slurm_suite is a plain module
SCRIPT = Path(__file__).resolve().parents[2] / 'slurm' / 'dev-cluster.sh'
PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'srun')
ACCOUNTING = ('slurmdbd', 'mariadbd', 'mariadb-install-db')


class Cluster:
    """slurm/dev-cluster.sh as a user calls it, and Slurm's commands on the cluster that it started."""

    def __init__(self, *options):
        # Where SLURM_CONF names a cluster of the script's, start means that one.
        env = {key: value for key, value in os.environ.items() if key != 'SLURM_CONF'}
        shown = subprocess.run([SCRIPT, 'start', *options], env=env, capture_output=True, text=True, timeout=300)
        assert shown.returncode == 0, shown.stderr
        self.shown = shown.stdout
        [line] = [line for line in shown.stdout.splitlines() if line.startswith('export SLURM_CONF=')]
        self.conf = line.partition('=')[2]
        self.folder = Path(self.conf).parent

    def script(self, command, *options):
        return subprocess.run(
            [SCRIPT, command, '--dir', self.folder, *options], capture_output=True, text=True, timeout=300
        )

    def run(self, *command):
        """A command of Slurm's; what it prints."""
        env = {**os.environ, 'SLURM_CONF': self.conf}
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=60).stdout

    def processes(self):
        """The names of all living processes of this cluster, daemons and jobs alike, by process id."""
        mine = f'SLURM_CONF={self.conf}'.encode()
        found = {}
        for folder in Path('/proc').glob('[0-9]*'):
            try:
                if mine in (folder / 'environ').read_bytes().split(b'\0'):
                    found[int(folder.name)] = (folder / 'comm').read_text().strip()
            except OSError:  # it has ended meanwhile
                continue
        return {pid: name for pid, name in found.items() if pid != os.getpid()}

    def stop(self):
        done = self.script('stop')
        assert done.returncode == 0, done.stderr
        assert self.processes() == {}
        assert not self.folder.exists()


@pytest.fixture(scope='session')
def run_script():
    """The script from standard input, so that no user needs to be able to read the file."""

    def run_script(*args, **kwargs):
        command = ['bash', '-s', *args]
        with open(SCRIPT) as text:
            return subprocess.run(command, stdin=text, capture_output=True, text=True, timeout=60, **kwargs)

    return run_script


@pytest.fixture(scope='session')
def need_slurm(need, unmet):
    """need_slurm(*options): skips or fails, as ``unmet`` does, where no cluster with these options can be started."""

    def need_slurm(*options):
        if os.geteuid() != 0:
            unmet('a Slurm cluster is started by root only')
        for program in PROGRAMS if '--no-accounting' in options else PROGRAMS + ACCOUNTING:
            need(program)

    return need_slurm


@pytest.fixture(scope='session')
def start(need_slurm):
    """Starts a cluster with the options given, where this machine can; the test must stop it."""

    def start(*options):
        need_slurm(*options)
        return Cluster(*options)

    return start


@pytest.fixture(scope='session')
def cluster(start):
    """The cluster, with accounting, that the tests of this session share; submitit finds it by itself."""
    cluster = start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('SLURM_CONF', cluster.conf)
        yield cluster
    cluster.stop()


@pytest.fixture(scope='session')
def data(tmp_path_factory):
    return Path(os.environ.get('O2F_TEST_DATA') or tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='session')
def pace(data, tmp_path_factory):
    """Seconds of one epoch on this machine, beside other work where there is some."""
    from slurm_suite import Suite, epochs

    suite = Suite(tmp_path_factory.mktemp('pace'), data, None)
    suite.run('table3', '--only', 't_max=0.6', '--only', 't_min=0.2', '--set', 'train_cfg.max_epochs=12', '--jobs', '2')
    [path] = suite.runs.glob('smoke/*/metrics.json')
    return median(entry['seconds'] for entry in epochs(path.parent)[2:])  # the first ones make what is kept
