"""The benchmark of the metrics, at its smallest."""

import json

import pytest

from benchmarks import metrics


@pytest.mark.slow
def test_rows():
    """A row of each metric, with times; that the values are equal is what it checks itself."""
    coco, crowdhuman = metrics.measure(quick=True)
    assert (coco.name, coco.faster, crowdhuman.name, crowdhuman.faster) == ('pycocotools', 8, 'MMDetection', 5)
    assert coco.case.startswith('COCO') and crowdhuman.case.startswith('CrowdHuman')
    assert all(row.unit == 's' and row.ours > 0 and row.against > 0 for row in (coco, crowdhuman))


def test_other_values_stop_it():
    with pytest.raises(AssertionError, match='case: AP 0.5, name: 0.51'):
        metrics.compared('case', lambda: dict(AP=0.5, JI=0.2), lambda: dict(mAP=0.51, JI=0.2), 'name', 1e-3, faster=2)


def test_the_truth_is_what_was_drawn(tmp_path):
    """Boxes go into the file as x, y, width, height, labels as categories from 1."""
    boxes = [([[10, 20, 40, 90]], [3]), ([], [])]
    truth = [(metrics.np.array(box).reshape(-1, 4), metrics.np.array(label, int)) for box, label in boxes]
    document = json.loads(open(metrics.write_coco(tmp_path / 'truth.json', truth, 80)).read())
    assert [image['id'] for image in document['images']] == [0, 1] and len(document['categories']) == 80
    (annotation,) = document['annotations']
    assert annotation['bbox'] == [10, 20, 30, 70] and annotation['category_id'] == 4 and annotation['area'] == 2100
