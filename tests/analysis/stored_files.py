"""Stored files to test on: tables in the layouts of the paper's, and a way to run the command line."""

import io
import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def run_id(number, seed=0):
    return f'{number:06x}{seed:06x}'


def axis(name, label, *values, labels=None, **described):
    """An axis of a plan; ``described`` are the words of each of its values by header (NMS='✓✗' or a list)."""
    words = [list(words) for words in zip(*described.values())] if described else [[] for _ in values]
    shown = {
        value: dict(label=text, describe=of_value) for value, text, of_value in zip(values, labels or values, words)
    }
    return dict(name=name, label=label, describe=list(described), values=shown)


def metric(*keys, **at):
    return {'keys': list(keys), 'at': at}


def keys_at(metrics, at, reading):
    """What a cell that stands ``at`` shows of a result."""
    return {
        name: [key.replace('{reading}', reading) for key in body['keys']]
        for name, body in metrics.items()
        if all(at[axis] == value for axis, value in body['at'].items())
    }


def _png(height, width):
    """The file of an image, as bytes in an array."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)).save(file, 'png')
    return np.frombuffer(file.getvalue(), np.uint8)


def _mask(box, height, width):
    x1, y1, x2, y2 = map(int, box)
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = True
    return mask


class Store:
    """A runs folder. Plans and results are written as experiments/run.py writes them."""

    def __init__(self, runs):
        self.runs = runs

    def plan(self, name='table3', profile='desk', seeds=(0,), with_nms=(), **changes):
        """Write a plan: the 2x2 of T^max and T^min unless ``changes`` has other keys; returns its content.

        ``metrics`` may be given as lists of keys; cells that stand at a value in ``with_nms`` are read with NMS.
        """
        content = {
            'schema': 3,
            'table': name,
            'title': 'T^max and T^min',
            'caption': 'A small T^min narrows the gap.',
            'source': 'Table 3, section 4.2',
            'profile': profile,
            'overrides': {},
            'rows': [axis('t_min', 'T^min', '0.4', '0.2')],
            'columns': [axis('t_max', 'T^max', '0.7', '0.6')],
            'metrics': {'AP': ['without_nms/AP', 'with_nms/AP']},
            'claims': [],
            **changes,
        }
        metrics = {key: body if isinstance(body, dict) else metric(*body) for key, body in content['metrics'].items()}
        content['metrics'] = metrics
        axes = content['rows'] + content['columns']
        content['axes'] = {each['name']: each for each in axes}
        content.update({side: [each['name'] for each in content[side]] for side in ('rows', 'columns')})
        if 'cells' not in changes:
            paper = ['38.3/39.5', '38.0/39.5', '38.9/39.3', '39.0/39.3']
            content['cells'] = []
            for i, place in enumerate(product(*(each['values'] for each in axes))):
                at = dict(zip(content['axes'], place))
                content['cells'].append(
                    {
                        'at': at,
                        'keys': keys_at(metrics, at, 'with_nms' if set(place) & set(with_nms) else 'without_nms'),
                        'paper': {'AP': paper[i]} if len(axes) == 2 and i < len(paper) else {},
                        'runs': {str(seed): run_id(i, seed) for seed in seeds},
                    }
                )
        self.write(f'{profile}/tables/{name}.json', json.dumps(content))
        return content

    def table1(self, seeds=(0,)):
        """No axis down and one metric; names of values that are not what is shown."""
        return self.plan(
            'table1',
            seeds=seeds,
            rows=[],
            columns=[axis('la', 'LA', 'o2o', 't01', labels=['one-to-one', 't=0.1'])],
            metrics={'AP': ['without_nms/AP']},
        )

    def table2(self, seeds=(0,)):
        """No axis down and several metrics."""
        metrics = {name: [f'without_nms/{name}', f'with_nms/{name}'] for name in ('AP', 'AP50')}
        return self.plan('table2', seeds=seeds, rows=[], columns=[axis('k', 'K', '9', '7', '5')], metrics=metrics)

    def table4(self, seeds=(0,)):
        """No axis across, two axes down."""
        return self.plan(
            'table4',
            seeds=seeds,
            rows=[axis('metric', '', 'Add', 'Multiply'), axis('alpha', 'α', '0', '0.8')],
            columns=[],
            metrics={'AP': ['without_nms/AP'], 'AR': ['without_nms/AR']},
        )

    def table5(self, seeds=(0,)):
        """Words beside the rows' labels, a reading for each row, and speeds, which only one schedule has.

        Both rows of FCOS are one training for each schedule: runs 0 and 1; ours are 2 and 3.
        """
        names, labels = ['fcos-nms', 'fcos', 'ours'], ['FCOS [48]', 'FCOS [48]', 'Ours']
        content = self.plan(
            'table5',
            with_nms=['fcos-nms'],
            rows=[axis('method', 'Method', *names, labels=labels, LA=['o2m', 'o2m', 'o2f'], NMS='✓✗✗')],
            columns=[axis('schedule', '', '1x', '3x', labels=['1×', '3×'])],
            metrics={
                'AP': ['{reading}/AP'],
                'AR': ['{reading}/AR'],
                'forward(ms)': metric('speed/{reading}/forward_ms', schedule='1x'),
                'FPS': metric('speed/{reading}/fps', schedule='1x'),
            },
        )
        paper = ['38.6 57.2 27.7 35.2', '41.4 59.1', '17.7 52.9 27.7 36.1', '19.1 54.2', '39.0 - - 35.5', '- 63.5']
        for cell, run, numbers in zip(content['cells'], [0, 1, 0, 1, 2, 3], paper):
            cell['runs'] = {str(seed): run_id(run, seed) for seed in seeds}
            cell['paper'] = dict(zip(content['metrics'], numbers.split()))
        self.write('desk/tables/table5.json', json.dumps(content))
        return content

    def speed(self, number, ms, seed=0, **changes):
        """Write the speed of run ``number``, 5 ms slower with NMS; returns its content."""
        metrics = {}
        for reading, total in (('without_nms', ms), ('with_nms', ms + 5)):
            metrics.update({f'speed/{reading}/forward_ms': ms, f'speed/{reading}/fps': 1000 / total})
        content = {
            'schema': 1,
            'run': run_id(number, seed),
            'device': 'cpu: Intel Xeon, 1 thread',
            'versions': {'torch': '2.15.0'},
            'image': [96, 128],
            'repeats': 20,
            'metrics': metrics,
        }
        content.update(changes)
        self.write(f'desk/{run_id(number, seed)}/speed.json', json.dumps(content))
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

    def fig5(self, seeds=(0,), epochs=12, **parts):
        """The plan of Fig. 5 and the epochs of its runs: one-to-one is run 0, one-to-few run 1."""
        content = self.plan(
            'fig5',
            seeds=seeds,
            rows=[axis('method', 'Method', 'o2o', 'o2f')],
            columns=[],
            setting='COCO val2017',
        )
        for number, seed in product((0, 1), seeds):
            aps = [(0.02 * e + 0.001 * seed, 0.02 * e + 0.001 * seed + 0.01 * number) for e in range(1, epochs + 1)]
            self.epochs(number, aps, seed, **parts)
        return content

    def epochs(self, number, aps, seed=0, profile='desk', **parts):
        """Write the metrics of a run's epochs: pairs of AP without and with NMS. ``parts`` are further keys,
        such as losses, each a function of the numbers of the run and of the epoch; ``metrics`` are more metrics."""
        more = parts.pop('metrics', lambda number, epoch: {})
        entries = [
            {
                'epoch': epoch,
                'metrics': {
                    'without_nms/AP': without,
                    'with_nms/AP': with_nms,
                    'without_nms/APl': None,
                    **more(number, epoch),
                },
                'seconds': 10.0,
                **{key: part(number, epoch) for key, part in parts.items()},
            }
            for epoch, (without, with_nms) in enumerate(aps, 1)
        ]
        self.write(f'{profile}/{run_id(number, seed)}/metrics.json', json.dumps({'schema': 1, 'epochs': entries}))

    def detections(self, name='fig7', masks=False, **changes):
        """Write a capture of two detectors on one image of 40 x 60: the first finds both objects, one of them twice,
        and one where there is none; the second finds nothing."""
        boxes = np.array([[2, 2, 22, 22], [30, 10, 50, 30]], np.float32)
        found = np.array([[2, 2, 22, 21], [30, 10, 50, 30], [3, 2, 22, 22], [0, 30, 10, 40]], np.float32)
        arrays = {
            'image0': _png(40, 60),
            'truth0.boxes': boxes,
            'truth0.labels': np.array([0, 1], np.int32),
            'truth0.ignored': np.zeros(2, bool),
            'found0.0.boxes': found,
            'found0.0.labels': np.array([0, 1, 0, 0], np.int32),
            'found0.0.scores': np.array([0.9, 0.8, 0.7, 0.6], np.float32),
            'found0.1.boxes': np.zeros((0, 4), np.float32),
            'found0.1.labels': np.zeros(0, np.int32),
            'found0.1.scores': np.zeros(0, np.float32),
        }
        if masks:
            for key in ('truth0', 'found0.0', 'found0.1'):
                drawn = [_mask(box, 40, 60) for box in arrays[f'{key}.boxes']]
                arrays[f'{key}.masks'] = np.packbits(np.array(drawn, bool).reshape(len(drawn), 40 * 60), axis=1)
        meta = dict(
            **self._capture(name, 'detections'),
            classes=['cat', 'dog'],
            masks=masks,
            reading='without_nms',
            recall=0.5,
            panels=[
                dict(label='FCOS', run=run_id(0), score_thr=0.55, recall=0.5),
                dict(label='Ours', run=run_id(1), score_thr=1.0, recall=0.0),
            ],
            images=[dict(id=17, size=[40, 60])],
        )
        self.capture(name, {**meta, **changes}, arrays)
        return arrays

    def assignment(self, **changes):
        """Write a capture of Fig. 6: two instances, two stages, three levels, the last without a positive anchor."""
        shapes = [[4, 4], [2, 2], [1, 1]]
        random = np.random.default_rng(0)
        arrays = {'image0': _png(32, 32)}
        for stage, certain in enumerate((5, 16)):
            degrees = np.zeros((2, 21), np.float32)
            degrees[0, [5, 6, 16]] = [0.5, 0.3, 0.2]
            degrees[1, [10, 17]] = [0.4, 0.1]
            degrees[0, certain] = degrees[1, 10] = 1
            arrays[f'stage{stage}.degrees'] = degrees
            arrays[f'stage{stage}.certain'] = degrees == 1
            arrays[f'stage{stage}.scores'] = random.random((2, 21)).astype(np.float16)
        meta = dict(
            **self._capture('fig6', 'assignment'),
            run=run_id(0),
            epochs=12,
            stages=[dict(label='early', epoch=3, t=0.527), dict(label='late', epoch=12, t=0.2)],
            strides=[8, 16, 32],
            shapes=shapes,
            input_size=[32, 32],
            images=[dict(id=5, size=[32, 32])],
            instances=[dict(name='cat', box=[4, 4, 20, 20]), dict(name='dog', box=[10, 12, 30, 28])],
        )
        self.capture('fig6', {**meta, **changes}, arrays)
        return arrays

    def capture(self, name, meta, arrays):
        """Write a capture as run.py capture does."""
        path = self.runs / 'desk' / 'captures' / f'{name}.npz'
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)

    def _capture(self, name, kind):
        shared = dict(schema=1, figure=name, kind=kind, title='What is shown', source='Figure', setting='COCO val2017')
        return dict(**shared, profile='desk', seed=0, provenance={})

    def write(self, path, text):
        path = self.runs / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')

    def figures(self, *arguments, cwd=ROOT):
        """Run make_figures.py as a user does."""
        command = [sys.executable, str(ROOT / 'analysis' / 'make_figures.py'), *map(str, arguments)]
        return subprocess.run(
            [*command, '--runs', str(self.runs)], cwd=cwd, capture_output=True, encoding='utf-8', timeout=120
        )

    def cli(self, *arguments, cwd=ROOT, env=None):
        """Run the command line as a user does, with the repository not on the path."""
        script = [sys.executable, str(ROOT / 'analysis' / 'make_tables.py')]
        return subprocess.run(
            [*script, *arguments, '--runs', str(self.runs)],
            cwd=cwd,
            env={'PATH': '', **(env or {})},
            capture_output=True,
            encoding='utf-8',
            timeout=60,
        )
