import json
from itertools import combinations

import cv2
import numpy as np
import pytest

from experiments.data.synthetic.crowd import CrowdSpec, draw_crowd, image_id, write_crowd
from experiments.data.synthetic.scenes import SPLITS
from experiments.spec.config import resolve
from experiments.spec.paths import substitute_paths
from experiments.spec.table_file import load_table


@pytest.fixture(scope='module')
def spec():
    return CrowdSpec(seed=3)


@pytest.fixture(scope='module')
def crowds(spec):
    return [draw_crowd(spec, 'train', index) for index in range(40)]


def people(crowd):
    return [box for box in crowd.gtboxes if box['tag'] == 'person']


def read(folder, split):
    return [json.loads(line) for line in (folder / f'annotation_{split}.odgt').read_text().splitlines()]


def corners(box):
    return np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]])


def iou(a, b):
    a, b = corners(a), corners(b)
    inter = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return inter / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inter)


def inside(inner, outer):
    inner, outer = corners(inner), corners(outer)
    return (inner[:2] >= outer[:2]).all() and (inner[2:] <= outer[2:]).all()


def test_people_are_as_many_as_wished(spec, crowds):
    counts = [len(people(crowd)) for crowd in crowds]
    assert min(counts) >= spec.people[0] and max(counts) <= spec.people[1]
    assert np.mean(counts) > 10


def test_boxes_nest(spec, crowds):
    image, outside = [0, 0, spec.size, spec.size], 0
    for crowd in crowds:
        for person in people(crowd):
            assert all(min(person[key][2:]) >= 1 for key in ('fbox', 'vbox', 'hbox'))
            assert inside(person['vbox'], person['fbox']) and inside(person['hbox'], person['fbox'])
            assert inside(person['vbox'], image)
            assert person['vbox'] == person['fbox'] or person['extra']['occ'] == 1
            outside += not inside(person['fbox'], image)
    assert outside > 10  # full boxes reach outside the image, as in the real data


def test_people_overlap_heavily(crowds):
    pairs = [iou(a['fbox'], b['fbox']) for crowd in crowds for a, b in combinations(people(crowd), 2)]
    assert (np.array(pairs) > 0.5).sum() / len(crowds) > 1.5
    shown = [p['vbox'][2] * p['vbox'][3] / (p['fbox'][2] * p['fbox'][3]) for crowd in crowds for p in people(crowd)]
    assert np.mean(np.array(shown) < 0.7) > 0.2


def test_ignored_regions_are_there_but_not_everywhere(spec, crowds):
    counts = []
    for crowd in crowds:
        masks = [box for box in crowd.gtboxes if box['tag'] == 'mask']
        counts.append(len(masks))
        assert all(box['extra'] == {'ignore': 1} and inside(box['fbox'], [0, 0, spec.size, spec.size]) for box in masks)
    assert set(counts) == {0, 1, 2}


def test_twice_the_same_bytes_and_honest_progress(crowd_spec, crowd_folder, contents, tmp_path):
    seen = []
    write_crowd(crowd_spec, tmp_path, lambda done, total: seen.append((done, total)))
    assert contents(tmp_path) == contents(crowd_folder)
    assert seen == [(n, 8) for n in range(1, 9)]


def test_layout_is_crowdhumans(crowd_spec, crowd_folder, contents):
    ids = {split: [line['ID'] for line in read(crowd_folder, split)] for split in SPLITS}
    assert not set(ids['train']) & set(ids['val']) and len(set(ids['train'])) == crowd_spec.train
    files = [f'Images/{name}.jpg' for split in SPLITS for name in ids[split]]
    files += [pattern.format(split) for split in SPLITS for pattern in ('annotation_{}.odgt', 'id_hw_{}.json')]
    assert sorted(contents(crowd_folder)) == sorted(files)
    for split in SPLITS:
        sizes = json.loads((crowd_folder / f'id_hw_{split}.json').read_text())
        assert sizes == {name: [crowd_spec.size] * 2 for name in ids[split]}


def test_an_image_alone_is_the_one_written(crowd_spec, crowd_folder):
    crowd, line = draw_crowd(crowd_spec, 'val', 2), read(crowd_folder, 'val')[2]
    assert line == {'ID': image_id(crowd_spec, 'val', 2), 'gtboxes': crowd.gtboxes}
    written = (crowd_folder / 'Images' / f'{line["ID"]}.jpg').read_bytes()
    assert written == cv2.imencode('.jpg', crowd.image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


@pytest.mark.parametrize('split', SPLITS)
def test_mmdetection_reads_it(crowd_spec, crowd_folder, split):
    from mmdet.datasets import CrowdHumanDataset

    root = str(crowd_folder)
    dataset = CrowdHumanDataset(
        data_root=root,
        ann_file=f'annotation_{split}.odgt',
        extra_ann_file=f'{root}/id_hw_{split}.json',
        data_prefix={'img': 'Images/'},
        pipeline=[],
    )
    lines = read(crowd_folder, split)
    assert len(dataset) == len(lines)
    for info, line in zip(dataset, lines):
        assert (info['height'], info['width']) == (crowd_spec.size, crowd_spec.size)
        assert [i['ignore_flag'] for i in info['instances']] == [int(b['tag'] == 'mask') for b in line['gtboxes']]
        assert cv2.imread(info['img_path']) is not None


def test_perfect_detections_score_perfectly(crowd_folder):
    """MMDetection's CrowdHumanMetric reads the .odgt file and finds nothing missed when fed the full boxes."""
    import torch
    from mmdet.evaluation import CrowdHumanMetric

    metric = CrowdHumanMetric(ann_file=str(crowd_folder / 'annotation_val.odgt'), metric=['AP', 'MR'])
    lines, count = read(crowd_folder, 'val'), 0
    for line in lines:
        boxes = [corners(box['fbox']) for box in line['gtboxes'] if box['tag'] == 'person']
        found = {'bboxes': torch.tensor(np.array(boxes), dtype=torch.float32), 'scores': torch.ones(len(boxes))}
        count += len(boxes)
        metric.process({}, [{'img_id': line['ID'], 'ori_shape': (128, 128), 'pred_instances': found}])
    scores = metric.evaluate(len(lines))
    # Its curve starts at the first detection, so the best AP is one person short of 1.
    assert scores['crowd_human/mAP'] == pytest.approx(1 - 1 / count, abs=1e-3) and scores['crowd_human/mMR'] < 0.01


DATASET = {'type', 'data_root', 'ann_file', 'data_prefix', 'pipeline'}


@pytest.mark.parametrize('profile', ['paper', 'desk', 'smoke'])
def test_nothing_of_coco_is_left_in_a_config(profile):
    """Datasets and evaluators are CrowdHuman's in every profile; method and schedule are the authors'."""
    config = resolve(profile, ['crowdhuman'], {}, 0, 'test').config
    folder = '${DATA}/CrowdHuman/' if profile == 'paper' else '${CROWD}/'
    for loader, more in (('train', set()), ('val', {'test_mode'}), ('test', {'test_mode'})):
        dataset = config[f'{loader}_dataloader']['dataset']
        assert set(dataset) == DATASET | more and dataset['type'] == 'CrowdHumanDataset'
        assert dataset['data_root'] == config['data_root'] == folder
        assert dataset['pipeline'] == config['train_pipeline' if loader == 'train' else 'test_pipeline']
    for evaluator in ('val_evaluator', 'test_evaluator'):
        assert config[evaluator] == dict(type='TwoReadingsCrowdHumanMetric', ann_file=f'{folder}annotation_val.odgt')
    head, test = config['model']['bbox_head'], config['model']['test_cfg']
    assert (head['num_classes'], head['selection']['k'], head['ignore_regions']) == (1, 4, False)
    assert (test['nms_pre'], test['max_per_img']) == (5000, 500)
    assert config['param_scheduler'][1]['milestones'] == [40] and config['param_scheduler'][1]['end'] == 50
    assert config['train_cfg']['max_epochs'] == (1 if profile == 'smoke' else 50)
    plain = resolve(profile, [], {}, 0, 'test').config['optim_wrapper']
    published = dict(plain, optimizer=dict(type='AdamW', lr=4e-5, weight_decay=1e-4), paramwise_cfg={})
    assert config['optim_wrapper'] == (published if profile == 'paper' else plain)


@pytest.mark.parametrize('profile', ['paper', 'desk', 'smoke'])
def test_defcns_recipe_changes_optimiser_schedule_and_size(profile):
    """And nothing else; each baseline of Table 8 has it in a row of its own."""
    cells = {cell.label.removeprefix('method='): cell for cell in load_table('table8').cells}
    baselines = [name for name in cells if name.endswith('-DeFCN')]
    assert len(baselines) == 3
    for name in baselines:
        ours, theirs = (
            resolve(profile, cell.use, cell.overrides, 0, 'test').config
            for cell in (cells[name.removesuffix('-DeFCN')], cells[name])
        )
        changed = {key for key in ours if ours[key] != theirs[key]}
        wanted = {'train_cfg', 'param_scheduler', 'train_dataloader', 'model', 'optim_wrapper'}
        assert changed == wanted - {'paper': set(), 'desk': {'optim_wrapper'}}.get(
            profile, {'optim_wrapper', 'train_cfg'}
        )
        assert (theirs['model']['test_cfg']['nms_pre'], theirs['model']['test_cfg']['max_per_img']) == (1000, 500)
        ours['model'].pop('test_cfg'), theirs['model'].pop('test_cfg')
        assert ours['model'] == theirs['model']
        size = (1400, 800) if profile == 'paper' else theirs['val_dataloader']['dataset']['pipeline'][1]['scale']
        assert theirs['train_dataloader']['dataset']['pipeline'][2] == dict(type='Resize', scale=size, keep_ratio=True)
        schedule = theirs['param_scheduler'][1]
        assert (schedule['end'], schedule['milestones']) == (32, [21, 27])
        assert theirs['train_cfg']['max_epochs'] == (1 if profile == 'smoke' else 32)
        if profile == 'paper':
            sgd = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
            assert theirs['optim_wrapper']['optimizer'] == sgd
            assert theirs['optim_wrapper']['paramwise_cfg'] == dict(norm_decay_mult=0.0)


@pytest.mark.parametrize('cell', load_table('table8').cells, ids=lambda cell: cell.label)
def test_regions_to_ignore_are_negatives_unless_one_setting_says_otherwise(cell):
    """In every row of Table 8 alike."""
    setting = {'model.bbox_head.ignore_regions': True}
    for overrides, expected in (({}, False), (setting, True)):
        config = resolve('paper', cell.use, {**cell.overrides, **overrides}, 0, 'test').config
        assert config['model']['bbox_head']['ignore_regions'] is expected


@pytest.mark.parametrize(
    'cell',
    [
        pytest.param(
            cell, id=cell.label, marks=() if cell.label in ('method=FCOS', 'method=Ours') else pytest.mark.slow
        )
        for cell in load_table('table8').cells
    ],
)
def test_each_row_of_table8_trains_on_it(cell, crowd_spec, crowd_folder, tmp_path):
    """An epoch of a small detector from random weights on images with regions to ignore, then predictions and
    metrics."""
    import torch
    from mmengine.config import Config
    from mmengine.runner import Runner

    # One epoch makes nobody sure.
    overrides = {**cell.overrides, 'model.backbone.init_cfg': None, 'model.test_cfg.score_thr': 0.0}
    config = Config(
        substitute_paths(resolve('smoke', cell.use, overrides, 0, 'test').config, dict(CROWD=str(crowd_folder)))
    )
    config.work_dir, config.log_level, config.visualizer = str(tmp_path), 'WARNING', None
    runner = Runner.from_cfg(config)
    samples = [item['data_samples'] for item in runner.build_dataloader(config.train_dataloader).dataset]
    assert any(len(sample.ignored_instances) for sample in samples)
    weight = runner.model.bbox_head.conv_cls.weight
    before = weight.detach().clone()
    runner.train()
    assert torch.isfinite(weight).all() and not torch.equal(weight, before)
    metrics = runner.val()
    assert set(metrics) == {
        f'{reading}/{name}'
        for reading in ('without_nms', 'with_nms')
        for name in ('AP', 'mMR', 'recall', 'JI', 'duplicates', 'score_margin')
    }
    # Duplicates and the margin are not defined where too few people are found.
    assert all(0 <= metrics[f'with_nms/{name}'] <= 1 for name in ('AP', 'mMR', 'recall', 'JI'))
    assert all(0 <= metrics[f'without_nms/{name}'] <= 1 for name in ('AP', 'mMR', 'recall', 'JI'))
    for sample in runner.model.val_step(next(iter(runner.val_dataloader))):
        assert 0 < len(sample.pred_instances_nms) <= len(sample.pred_instances) <= 500
        assert sample.pred_instances.bboxes.max() <= crowd_spec.size and not sample.pred_instances.labels.any()
