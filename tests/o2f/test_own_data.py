"""The documented example works with MMDetection's own Runner, and its checkpoint with the commands."""

from own_data import EXAMPLE

from o2f.inference import Detector


def test_the_example_is_short():
    """About twenty lines, besides what is empty or explains."""
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip() and not line.startswith(('#', '"""'))]
    assert len(lines) <= 20


def test_train_and_test(own):
    """Both readings are measured, and the checkpoint knows the classes."""
    assert {'without_nms/AP', 'with_nms/AP'} <= own.metrics.keys() and own.checkpoint.exists()
    detector = Detector(own.checkpoint, device='cpu')
    assert detector.classes == ('Platelets', 'RBC', 'WBC')
    assert detector.config.model.bbox_head.num_classes == 3
