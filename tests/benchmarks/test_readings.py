"""The benchmark of the two readings, at its smallest."""

import pytest
from mmengine.config import Config

from benchmarks import detectors, readings
from o2f.models.postprocess import FIELDS, WITH_NMS, WITHOUT_NMS


def test_rows():
    """A row beside each reading; that both have the values they have alone is what it checks itself."""
    rows = readings.measure(quick=True)
    assert [row.case.split('once ')[1] for row in rows] == ['without NMS', 'with NMS']
    assert all(row.unit == 's' and row.ours > 0 and row.against > 0 and row.at_most == 1.15 for row in rows)


def test_an_image_has_detections_and_nms_drops_some():
    config = detectors.ready(Config.fromfile(readings.ROOT / 'experiments/profiles/desk.py'))
    batches = readings.batches_of(4, 2, (96, 96))
    model = readings.build(config)
    readings.show_candidates(model, batches, 100)
    for sample in model.val_step(batches[1]):
        assert len(sample.get(FIELDS[WITHOUT_NMS])) == 100 and len(sample.get(FIELDS[WITH_NMS])) > 80
        assert sample.get(FIELDS[WITH_NMS]).scores.min() < sample.get(FIELDS[WITHOUT_NMS]).scores.min()


def test_other_values_stop_it():
    both = {'without_nms/AP': 0.5, 'with_nms/AP': 0.4}
    passes = dict(both=lambda: both, **dict.fromkeys((WITHOUT_NMS, WITH_NMS), lambda: {'without_nms/AP': 0.5}))
    with pytest.raises(AssertionError, match='with_nms/AP: 0.4, alone 0.5'):
        readings.check(passes)
