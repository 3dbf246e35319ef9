"""A trained detector as a function of arrays."""

import contextlib
import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple, TypeGuard

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import DATASETS, MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import DefaultScope, init_default_scope

from o2f.errors import InputError, one_line
from o2f.io.checkpoints import Checkpoint, load_strictly, read_checkpoint
from o2f.io.safe_config import check_names, parse_config
from o2f.models.detectors import TwoReadingsCondInst, TwoReadingsFCOS
from o2f.models.postprocess import FIELDS, WITH_NMS, WITHOUT_NMS

#: Transforms that load annotations. Images to detect on have none.
_OF_ANNOTATIONS = ('LoadAnnotations', 'LoadPanopticAnnotations')


@dataclass(frozen=True)
class Detections:
    """The detections of one image, best first.

    Attributes:
        boxes (ndarray): (n, 4) float32, x1 y1 x2 y2 in pixels of the image.
        scores (ndarray): (n,) float32, from 0 to 1.
        labels (ndarray): (n,) int64, indices into the detector's ``classes``.
        masks (ndarray | None): (n, H, W) bool, for detectors that draw masks.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: Optional[np.ndarray] = None

    def __len__(self) -> int:
        return len(self.scores)


class Detector:
    """A trained detector for images of any size.

    Nothing in the checkpoint is run. The config is taken from the checkpoint, or from ``config.py`` beside it. It is
    read as data, and only known classes, which do not run any setting as code, are built from it
    ([`o2f.io.safe_config`][]). A file given as ``config`` is read as MMDetection reads configs, and that runs it.

    Args:
        checkpoint (str | Path): a checkpoint of mmengine's Runner, or a file of weights.
        config (str | Path | Config, optional): the config of the training. A file is run as Python.
        device (str, optional): the device, such as 'cpu' or 'cuda:1'. The default is a GPU if there is one.

    Attributes:
        model (BaseModel): the detector, in evaluation mode. Its ``dataset_meta`` has the classes and the palette.
        config (Config): the config.
        classes (tuple[str]): names of the classes, in the order of their labels.
        palette (list | str): a colour (red, green, blue from 0 to 255) for each class, or the name of one of
            MMDetection's palettes.

    Examples:
        >>> detector = Detector('epoch_12.pth')
        >>> found = detector(cv2.imread('street.jpg'))
        >>> [(detector.classes[label], score) for label, score in zip(found.labels, found.scores)]

    Raises:
        InputError: a file cannot be read, the weights do not fit the config, or the config is not safe to build.
    """

    def __init__(self, checkpoint: Any, config: Any = None, device: Optional[str] = None) -> None:
        path = Path(checkpoint)
        content = read_checkpoint(path)
        self.config, source = _config(config, content, path)
        self.model, self.transform = _build(self.config, source)
        load_strictly(self.model, content.weights, path)
        self.classes, self.palette = _classes(content, self.config, self.model)
        self.model.dataset_meta = dict(classes=self.classes, palette=self.palette)  # as MMDetection's init_detector
        device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        try:
            self.model = self.model.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            raise InputError(f'device {device!r} cannot be used ({one_line(error)}): try cpu') from error

    @torch.no_grad()
    def __call__(self, image: np.ndarray, score: float = 0.0, nms: bool = False) -> Detections:
        """Detect on one image.

        Args:
            image (ndarray): (H, W, 3) uint8, channels blue, green, red, as OpenCV and MMDetection read images. For an
                image from Pillow, pass ``np.asarray(image.convert('RGB'))[..., ::-1]``.
            score (float): only detections with a higher score are returned. Scores below ``test_cfg.score_thr`` of the
                config are never returned.
            nms (bool): apply non-maximum suppression. Another detector than this package's has a single reading, which
                False gives, with NMS if its config has it.

        Returns:
            Detections: the detections of the image.

        Raises:
            InputError: the array is not such an image, or ``nms`` is True and the detector has no second reading, or no
                NMS in its ``test_cfg``, or one that is not installed.
        """
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            found = f'{image.dtype} {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
            raise InputError(f'an image must be an array (H, W, 3) of uint8, blue first, not {found}')
        if not image.size:
            raise InputError(f'an image must have pixels, and this one is {image.shape}')
        sample = self._detect(self.transform(dict(img=image, img_id=0)), nms)
        field = FIELDS[WITH_NMS if nms else WITHOUT_NMS]
        if field not in sample:
            raise InputError(f'{type(self.model).__name__} does not give a reading with NMS of its own')
        instances = sample.get(field)
        arrays = {name: value.cpu().numpy() for name, value in instances[instances.scores > score].items()}
        return Detections(arrays['bboxes'], arrays['scores'], arrays['labels'], arrays.get('masks'))

    def _detect(self, sample: dict, nms: bool) -> Any:
        """The data sample of an image with its detections. NMS is computed only if it is asked for."""
        batch = pseudo_collate([sample])
        try:
            with _scope():
                if not isinstance(self.model, (TwoReadingsFCOS, TwoReadingsCondInst)):
                    return self.model.test_step(batch)[0]
                batch = self.model.data_preprocessor(batch)
                return self.model.predict(batch['inputs'], batch['data_samples'], with_nms=nms)[0]
        except NotImplementedError as error:  # mmcv-lite has only one kind of NMS
            raise InputError(one_line(error)) from error


@contextlib.contextmanager
def _scope() -> Any:
    """Look names up in MMDetection's registries, whatever the caller's scope."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def _config(given: Any, content: Checkpoint, path: Path) -> Tuple[Config, str]:
    """The config of a checkpoint, and where it is from."""
    if given is None:
        return _config_of(content, path), str(path)
    if isinstance(given, Config):
        return given, f'the config of {path}'
    return read_config(Path(given)), str(given)


def _config_of(content: Checkpoint, path: Path) -> Config:
    """The config in a checkpoint, or the one beside it, read as data."""
    text, source = content.meta.get('cfg'), f'the config in {path}'
    beside = path.with_name('config.py')
    if not isinstance(text, str):
        source = str(beside)
        try:
            text = beside.read_text(encoding='utf-8')
        except FileNotFoundError:
            raise InputError(f'{path} holds no config, and there is no {beside}: give it with --config') from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f'{beside} cannot be read ({error}): give the config with --config') from error
    settings = parse_config(text, source)
    needed = {key: settings.get(key) for key in ('model', 'test_dataloader', 'default_scope')}
    needed['model'] = without_init(needed['model'])
    check_names([needed['model'], _pipeline(needed, source)], source)
    if needed['default_scope'] != 'mmdet':
        raise InputError(f"{source} has the default scope {needed['default_scope']!r}, not 'mmdet': use --config")
    return Config(needed, format_python_code=False)


def without_init(settings: Any) -> Any:
    """Settings of modules without ``init_cfg``. Their weights are loaded, so they need no initialisation."""
    if isinstance(settings, dict):
        return {key: without_init(value) for key, value in settings.items() if key != 'init_cfg'}
    return [without_init(item) for item in settings] if isinstance(settings, list) else settings


def read_config(path: Path) -> Config:
    """A config given by the user, read as MMDetection reads it. It is run as Python.

    Raises:
        InputError: it is missing or cannot be read.
    """
    try:
        return Config.fromfile(path)
    except FileNotFoundError:
        raise InputError(f'{path} is missing: name a config file of MMDetection') from None
    except Exception as error:  # the config is code, which can raise anything
        raise InputError(f'{path} cannot be read as a config ({type(error).__name__}: {one_line(error)})') from error


def _pipeline(config: Any, source: str) -> List[dict]:
    """The test pipeline of a config."""
    dataset = config.get('test_dataloader')
    for key in ('dataset', 'pipeline'):
        while isinstance(dataset, dict) and key in dataset:
            dataset = dataset[key]
    if not isinstance(dataset, list) or not all(isinstance(step, dict) and 'type' in step for step in dataset):
        raise InputError(f'{source} has no test_dataloader whose dataset has a pipeline: give another with --config')
    return dataset


def _build(config: Config, source: str) -> Tuple[BaseModel, Compose]:
    """Build the detector, without weights, and its test pipeline."""
    if not isinstance(config.get('model'), dict):
        raise InputError(f'{source} has no model: give another config with --config')
    init_default_scope('mmdet')
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    steps = [dict(step) for step in _pipeline(config, source)]
    steps = [step for step in steps if str(step['type']).rpartition('.')[2] not in _OF_ANNOTATIONS]
    if steps and str(steps[0]['type']).rpartition('.')[2] in ('LoadImageFromFile', 'LoadNamedImage'):
        steps[0] = dict(type='LoadImageFromNDArray', to_float32=steps[0].get('to_float32', False))
    try:
        with _scope():
            transform = Compose([TRANSFORMS.build(step) for step in steps])
            # Weights are loaded later. None are initialised or downloaded.
            return revert_sync_batchnorm(MODELS.build(copy.deepcopy(config.model))), transform
    except Exception as error:  # constructors can raise anything if a setting is wrong
        raise InputError(f'{source} cannot be built: {one_line(error)}') from error


def _classes(content: Checkpoint, config: Config, model: BaseModel) -> Tuple[Tuple[str, ...], Any]:
    """Names and colours of the classes: from the checkpoint, the config or the dataset's class. Otherwise numbers."""
    number = getattr(getattr(model, 'bbox_head', None), 'num_classes', None)
    for meta in (content.meta.get('dataset_meta'), *_metainfo(config)):
        names = meta.get('classes') if isinstance(meta, dict) else None
        if _are_texts(names) and number in (None, len(names)):
            return tuple(names), _palette(meta.get('palette'), len(names))
    return tuple(str(label) for label in range(number or 0)), 'random'


def _metainfo(config: Config) -> List[Any]:
    dataset = config.get('test_dataloader', {}).get('dataset', {})
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    registered = DATASETS.get(dataset['type']) if dataset.get('type') in DATASETS.module_dict else None
    defaults = getattr(registered, 'METAINFO', {})
    return [{**defaults, **(dataset.get('metainfo') or {})}]


def _are_texts(names: Any) -> TypeGuard[Sequence[str]]:
    return isinstance(names, Sequence) and not isinstance(names, str) and all(isinstance(name, str) for name in names)


def _palette(palette: Any, number: int) -> Any:
    """A colour for each class. If ``palette`` does not fit, MMDetection's random colours, which never change."""
    try:
        colours = np.asarray(palette, dtype=float)[:number]
    except (ValueError, TypeError, IndexError):
        return 'random'
    fit = colours.shape == (number, 3) and ((colours >= 0) & (colours <= 255)).all()
    return [tuple(map(int, colour)) for colour in colours] if fit else 'random'
