"""run.py on a cluster, as a user calls it, and what the tests look at."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Suite:
    """run.py with folders and a cluster file of its own."""

    def __init__(self, folder, data, cluster, **settings):
        self.runs, self.data, self.cluster = folder / 'runs', data, cluster
        folder.mkdir(exist_ok=True)
        self.file = folder / 'cluster.yaml'
        self.file.write_text(json.dumps({'timeout_min': 30, **settings}))

    def command(self, *args):
        options = ('--profile', 'smoke', '--runs', self.runs, '--data', self.data)
        return [sys.executable, str(ROOT / 'experiments' / 'run.py'), *map(str, (*args, *options))]

    def run(self, *args, check=0, **kwargs):
        command = self.command(*args)
        done = subprocess.run(command, capture_output=True, text=True, cwd=os.sep, timeout=600, **kwargs)
        assert done.returncode == check and 'Traceback' not in done.stderr, done.stderr + done.stdout
        return done

    def start(self, *args):
        return subprocess.Popen(
            self.command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=os.sep
        )

    def slurm(self, *args, **kwargs):
        return self.run(*args, '--launcher', 'slurm', '--cluster', self.file, **kwargs)

    def records(self):
        found = [json.loads(path.read_text()) for path in (self.runs / 'smoke' / 'slurm').glob('*.json')]
        return sorted(found, key=lambda record: record['at'])

    def folders(self):
        """Folders of the runs of the newest submission, in the order of its jobs."""
        return [self.runs / 'smoke' / run for run in self.records()[-1]['jobs']]

    def status(self, *args, **kwargs):
        """The text that --status shows for each run, by the last word of its label."""
        text = re.split(r'\n\d+ cells, ', self.run(*args, '--status', **kwargs).stdout)[0]
        return {re.split(r'\s{2,}', part)[1].split('=')[-1]: part for part in re.split(r'\n(?=\w)', text)}


def trainings(folder):
    """How often the run in this folder was begun or resumed: mmengine makes a folder each time."""
    return len([path for path in folder.iterdir() if path.is_dir()])


def metrics(folder):
    return json.loads((folder / 'result.json').read_text())['metrics']


def epochs(folder):
    path = folder / 'metrics.json'
    return json.loads(path.read_text())['epochs'] if path.exists() else []
