"""Stored files to test on: a 2x2 table in the layout of the paper's Table 3, and a way to run the command line."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_id(number, seed=0):
    return f'{number:06x}{seed:06x}'


def axis(name, label, *values):
    return {'axis': name, 'label': label, 'values': list(values)}


class Store:
    """A runs folder. Plans and results are written as experiments/run.py writes them."""

    def __init__(self, runs):
        self.runs = runs

    def plan(self, name='table3', profile='desk', seeds=(0,), **changes):
        """Write a plan: the 2x2 of T^max and T^min unless ``changes`` has other keys; returns its content."""
        content = {
            'schema': 1,
            'table': name,
            'title': 'T^max and T^min',
            'caption': 'A small T^min narrows the gap.',
            'source': 'Table 3, section 4.2',
            'profile': profile,
            'overrides': {},
            'rows': [axis('t_min', 'T^min', '0.4', '0.2')],
            'columns': [axis('t_max', 'T^max', '0.7', '0.6')],
            'metrics': {'AP': ['without_nms/AP', 'with_nms/AP']},
            **changes,
        }
        if 'cells' not in changes:
            axes = content['rows'] + content['columns']
            paper = ['38.3/39.5', '38.0/39.5', '38.9/39.3', '39.0/39.3']
            content['cells'] = [
                {
                    'at': dict(zip((each['axis'] for each in axes), place)),
                    'paper': {'AP': paper[i]} if len(axes) == 2 else {},
                    'runs': {str(seed): run_id(i, seed) for seed in seeds},
                }
                for i, place in enumerate(product(*(each['values'] for each in axes)))
            ]
        self.write(f'{profile}/tables/{name}.json', json.dumps(content))
        return content

    def result(self, number, without=None, with_nms=None, seed=0, profile='desk', metrics=None, **changes):
        """Write the result of run ``number``; returns its content."""
        content = {
            'schema': 1,
            'run': run_id(number, seed),
            'profile': profile,
            'seed': seed,
            'epochs': 12,
            'metrics': {'without_nms/AP': without, 'with_nms/AP': with_nms, 'without_nms/APl': None} | (metrics or {}),
            'provenance': {
                'commit': 'abc1234',
                'dirty': False,
                'device': 'cpu: Intel Xeon, 1 thread',
                'host': 'desk-1',
                'versions': {'torch': '2.15.0'},
                'started': '2026-11-22T12:00:00+00:00',
                'wall_s': 121.3,
            },
        }
        content.update(changes)
        self.write(f'{profile}/{run_id(number, seed)}/result.json', json.dumps(content))
        return content

    def all_results(self, **changes):
        for i, numbers in enumerate([(0.271, 0.281), (0.2712, 0.2849), (0.28, 0.2836), (0.3, 0.301)]):
            self.result(i, *numbers, **changes)

    def write(self, path, text):
        path = self.runs / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')

    def cli(self, *arguments, cwd=ROOT, env=None):
        """Run the command line as a user does, with neither the repository nor any package on the path."""
        script = [sys.executable, '-S', str(ROOT / 'analysis' / 'make_tables.py')]
        return subprocess.run(
            [*script, *arguments, '--runs', str(self.runs)],
            cwd=cwd,
            env={'PATH': '', **(env or {})},
            capture_output=True,
            encoding='utf-8',
            timeout=60,
        )
