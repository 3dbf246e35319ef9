"""One-to-Few label assignment for end-to-end dense detection, as a plug-in for MMDetection 3.x.

To use it, put ``custom_imports = dict(imports=['o2f'])`` into a config. Importing the package registers these classes:

| name | registry | the paper |
| --- | --- | --- |
| [`OneToFewSelection`][] | ``TASK_UTILS`` | section 3.2, Eq. 1: which anchors are positive |
| [`LinearDegrees`][] | ``TASK_UTILS`` | section 3.3, Eq. 3: how positive they are, falling by epoch |
| [`ScheduledDegrees`][] | ``TASK_UTILS`` | section 3.3 with other schedules of T |
| [`ConstantDegrees`][] | ``TASK_UTILS`` | section 3.1, Table 1: how positive they are, fixed |
| [`QualityDegrees`][] | ``TASK_UTILS`` | YOLOv10's degrees, by the quality of predictions |
| [`OneToFewLoss`][] | ``MODELS`` | section 3.4, Eq. 4: classification loss |
| [`OneToFewHead`][] | ``MODELS`` | section 3.4, Fig. 3 and Eq. 5: the head |
| [`SecondBranch`][] | ``MODELS`` | a second branch that only training sees, as in DATE and YOLOv10 |
| [`RankingLoss`][] | ``MODELS`` | PSS's loss on the order of scores |
| [`DatasetCheckHook`][] | ``HOOKS`` | looks at the datasets before a training |
| [`SettingsCheckHook`][] | ``HOOKS`` | refuses settings that do not fit together |
| [`FiniteLossHook`][] | ``HOOKS`` | stops a training that diverges |
| [`CheckpointHook`][] | ``HOOKS`` | checkpoints that a kill cannot lose, in place of mmengine's |
| [`EpochHook`][] | ``HOOKS`` | section 3.3: tells the head which epoch it is |
| [`TwoReadingsFCOS`][] | ``MODELS`` | section 4: a dense detector that detects without and with NMS |
| [`TwoReadingsMetric`][] | ``METRICS`` | section 4: COCO's metrics without and with NMS |
| [`HungarianSelection`][] | ``TASK_UTILS`` | section 4.3: POTO's one-to-one matching |
| [`MaxFiltering3D`][] | ``MODELS`` | section 4.3: DeFCN's 3DMF |
| [`QualityATSSSelection`][] | ``TASK_UTILS`` | section 4.3: DeFCN's auxiliary targets |
| [`FCOSSelection`][] | ``TASK_UTILS`` | section 4.3: FCOS's own targets |
| [`HybridEpochSelection`][] | ``TASK_UTILS`` | section 4.3: H-DETR's switch of targets |
| [`FCOSHeadWithIgnore`][] | ``MODELS`` | section 4.4: the FCOS baseline on CrowdHuman |
| [`TwoReadingsCrowdHumanMetric`][] | ``METRICS`` | section 4.4: CrowdHuman's metrics without and with NMS |
| [`OneToFewCondInstHead`][] | ``MODELS`` | section 4.5: the head for CondInst's masks |
| [`SemanticCondInstMaskHead`][] | ``MODELS`` | section 4.5: mask head with a semantic branch |
| [`TwoReadingsCondInst`][] | ``MODELS`` | section 4.5: CondInst that detects without and with NMS |
| [`CocoDataset`][] | ``DATASETS`` | COCO with labels by name, in place of MMDetection's |
| [`CocoWithMasks`][] | ``DATASETS`` | section 4.5: COCO with masks in any pipeline |
"""

import mmengine.device.utils

from o2f.compat.mmcv_ops import provide_mmcv_ops
from o2f.compat.torch_load import allow_mmengine_checkpoints

# Both must come before the first import of mmdet.models or mmengine's checkpoint loading.
provide_mmcv_ops()
allow_mmengine_checkpoints()
if mmengine.device.utils.DEVICE == 'mps':  # Apple's GPUs lack double precision, which the selection needs
    mmengine.device.utils.DEVICE = 'cpu'

from o2f.assign.degrees import ConstantDegrees, LinearDegrees, QualityDegrees, ScheduledDegrees  # noqa: E402
from o2f.assign.hybrid_epoch import HybridEpochSelection  # noqa: E402
from o2f.assign.one_to_many import FCOSSelection, QualityATSSSelection  # noqa: E402
from o2f.assign.poto import HungarianSelection  # noqa: E402
from o2f.assign.selection import OneToFewSelection  # noqa: E402
from o2f.datasets import CocoDataset, CocoWithMasks  # noqa: E402
from o2f.engine import EpochHook  # noqa: E402
from o2f.evaluation.crowdhuman import TwoReadingsCrowdHumanMetric  # noqa: E402
from o2f.evaluation.metric import TwoReadingsMetric  # noqa: E402
from o2f.models.condinst import OneToFewCondInstHead, SemanticCondInstMaskHead  # noqa: E402
from o2f.models.detectors import TwoReadingsCondInst, TwoReadingsFCOS  # noqa: E402
from o2f.models.further_losses import RankingLoss  # noqa: E402
from o2f.models.head import OneToFewHead  # noqa: E402
from o2f.models.ignore_regions import FCOSHeadWithIgnore  # noqa: E402
from o2f.models.loss import OneToFewLoss  # noqa: E402
from o2f.models.max_filtering import MaxFiltering3D  # noqa: E402
from o2f.models.second_branch import SecondBranch  # noqa: E402
from o2f.safeguards import CheckpointHook, DatasetCheckHook, FiniteLossHook, SettingsCheckHook  # noqa: E402

__all__ = [
    'CheckpointHook',
    'CocoDataset',
    'CocoWithMasks',
    'ConstantDegrees',
    'DatasetCheckHook',
    'EpochHook',
    'FCOSHeadWithIgnore',
    'FCOSSelection',
    'FiniteLossHook',
    'HungarianSelection',
    'HybridEpochSelection',
    'LinearDegrees',
    'MaxFiltering3D',
    'OneToFewCondInstHead',
    'OneToFewHead',
    'OneToFewLoss',
    'OneToFewSelection',
    'QualityATSSSelection',
    'QualityDegrees',
    'RankingLoss',
    'ScheduledDegrees',
    'SecondBranch',
    'SemanticCondInstMaskHead',
    'SettingsCheckHook',
    'TwoReadingsCondInst',
    'TwoReadingsCrowdHumanMetric',
    'TwoReadingsFCOS',
    'TwoReadingsMetric',
]
__version__ = '0.1.0'
