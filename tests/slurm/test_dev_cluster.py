"""slurm/dev-cluster.sh starts a Slurm that runs submitit's jobs, and leaves nothing behind."""

import math
import os
import re
import shutil

import submitit
from waiting import until


def test_an_array_of_submitit_runs_and_is_accounted_for(cluster, tmp_path):
    executor = submitit.AutoExecutor(folder=tmp_path, cluster='slurm')
    executor.update_parameters(timeout_min=5, slurm_array_parallelism=2)
    jobs = executor.map_array(math.factorial, range(4))
    assert [job.result() for job in jobs] == [1, 1, 2, 6]

    def states():
        lines = cluster.run('sacct', '-XnP', '-o', 'JobID,State', '-j', jobs[0].job_id.split('_')[0]).splitlines()
        return dict(line.split('|') for line in lines)

    # The records come a moment after the results.
    until(lambda: states() == {job.job_id: 'COMPLETED' for job in jobs}, 'the records of the jobs')


def test_a_second_start_changes_nothing(cluster):
    before = cluster.processes()
    again = cluster.script('start')
    assert (again.returncode, again.stdout) == (0, cluster.shown)
    assert cluster.processes() == before
    assert cluster.script('status').returncode == 0
    other = cluster.script('start', '--no-accounting')
    assert other.returncode == 1 and 'other accounting' in other.stderr
    assert cluster.processes() == before


def test_stop_ends_jobs_too_even_where_daemons_have_died(start):
    """A second cluster beside the shared one, without accounting."""
    cluster = start('--no-accounting')
    cluster.run('sbatch', '--output=/dev/null', '--wrap', 'sleep 600 & sleep 600')
    until(lambda: list(cluster.processes().values()).count('sleep') == 2, 'the processes of the job')
    [slurmctld] = [pid for pid, name in cluster.processes().items() if name == 'slurmctld']
    os.kill(slurmctld, 9)
    until(lambda: slurmctld not in cluster.processes(), 'the end of slurmctld')
    status = cluster.script('status')
    assert status.returncode == 1 and 'slurmctld does not run' in status.stdout
    cluster.stop()


def test_missing_programs_are_named_with_their_packages(run_script, tmp_path, unmet):
    if os.geteuid() != 0:
        unmet('a Slurm cluster is started by root only')
    for program in ('bash', 'hostname', 'id', 'dirname'):
        (tmp_path / program).symlink_to(shutil.which(program))
    done = run_script('start', env={'PATH': str(tmp_path)})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith('dev-cluster: missing:') and 'sbatch' in line and 'slurm-wlm' in line


def test_only_root_starts_a_cluster(run_script):
    done = run_script('start', **({'user': 'nobody', 'cwd': '/'} if os.geteuid() == 0 else {}))
    assert done.returncode == 1
    assert done.stderr == 'dev-cluster: start needs root: the daemons run jobs for any user\n'


def test_a_foreign_folder_is_not_filled(need_slurm, run_script, tmp_path):
    need_slurm()
    (tmp_path / 'mine').write_text('mine')
    done = run_script('start', '--dir', str(tmp_path))
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ['mine']


def test_a_daemon_that_does_not_start_shows_why_and_leaves_no_other(need_slurm, run_script, monkeypatch):
    need_slurm('--no-accounting')
    monkeypatch.delenv('SLURM_CONF', raising=False)
    done = run_script('start', '--no-accounting', '--conf', 'Nonsense=1')
    assert done.returncode == 1
    assert 'slurmctld ended' in done.stderr and 'Nonsense' in done.stderr
    folder = re.search(r'the end of (.+)/log/slurmctld', done.stderr)[1]
    status = run_script('status', '--dir', folder)
    assert status.returncode == 1 and status.stdout.count('does not run') == 3
    assert run_script('stop', '--dir', folder).returncode == 0
    assert not os.path.exists(folder)


def test_a_folder_that_munge_cannot_reach_is_refused(need_slurm, run_script, tmp_path):
    need_slurm()
    tmp_path.chmod(0o700)
    done = run_script('start', '--dir', str(tmp_path / 'cluster'))
    assert done.returncode == 1
    assert done.stderr.startswith('dev-cluster: ') and 'the user munge may not enter' in done.stderr
