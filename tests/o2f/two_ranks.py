"""What one of several ranks computes, and what one process computes in their place."""

from typing import Dict, List

import torch

import o2f  # isort: skip  # noqa: F401  (answers for mmcv's compiled operations, so it comes before MMDetection)
from mmengine.model import MMDistributedDataParallel
from tiny_condinst import make_condinst, make_masked_images
from tiny_detectors import POTO, collate, fcos_head_config, head_config, make_detector, make_images, write_annotations
from torch import distributed, nn

from o2f import TwoReadingsMetric

AUX_SIZES = dict(regress_ranges=((-1, 64), (64, 128), (128, 1e8)))
HYBRID = dict(
    selection=dict(type='HybridEpochSelection', one_to_many=dict(type='FCOSSelection', **AUX_SIZES)),
    degrees=dict(type='ConstantDegrees', t=1.0),
)


def poto(auxiliary=None, **changes) -> dict:
    return head_config(**{**POTO, 'auxiliary': auxiliary, **changes})


#: A second branch that is FCOS on the same predictors, and the loss of PSS, which needs one.
FCOS_BRANCH = dict(
    shares='predictors',
    selection=dict(type='FCOSSelection', **AUX_SIZES),
    degrees=dict(type='ConstantDegrees', t=1.0),
)
RANK = dict(type='RankingLoss', loss_weight=0.25, margin=0.5, negatives=100)

#: Every kind of head of the suite's tables, and two of its studies.
HEADS = {
    'ours': head_config(),
    'uniform': head_config(box_weight='uniform'),
    'ignore': head_config(ignore_regions=True),
    'hybrid': head_config(**HYBRID),
    'poto': poto(),
    '3dmf': head_config(**{**POTO, 'score_factor': '3dmf'}),
    'pss': head_config(**{**POTO, 'score_factor': 'pss'}, loss_rank=RANK, second=FCOS_BRANCH),
    'onenet': poto(
        selection=dict(type='OneToFewSelection', k=0, metric='detr_cost', radius='image'), loss_l1=dict(type='L1Loss')
    ),
    'aux-fcos': poto(dict(type='FCOSSelection', **AUX_SIZES)),
    'aux-atss': poto(dict(type='QualityATSSSelection')),
    'aux-topk': poto(dict(type='OneToFewSelection', k=9, radius=None)),
    'fcos': dict(fcos_head_config(), center_sampling=True),
    'fcos-ignore': dict(fcos_head_config(), center_sampling=True, type='FCOSHeadWithIgnore', ignore_regions=True),
}
#: The kinds of CondInst: of which heads, and changes of the box head.
CONDINST = {
    'condinst': ('one_to_few', {}),
    'condinst-poto': ('one_to_few', POTO),
    'condinst-o2m': ('one_to_many', {}),
}
#: Which of four images have instances; with two ranks the first has images 0 and 2.
BATCHES = {'some on all': (0, 1, 2, 3), 'none on rank 1': (0, 2), 'none on rank 0': (1, 3), 'none': ()}


def make(name: str) -> nn.Module:
    """A detector that trains. Norm layers do not take the statistics of a batch, which is each rank's own."""
    if name in CONDINST:
        heads, changes = CONDINST[name]
        model = make_condinst(heads, box_head=changes)
    else:
        model = make_detector(head=HEADS[name])
    for module in model.train().modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def images_of(name: str, batch: str) -> List[dict]:
    images = (make_masked_images if name in CONDINST else make_images)(4)
    for number, image in enumerate(images):
        if number not in BATCHES[batch]:
            image['data_samples'].gt_instances = image['data_samples'].gt_instances[:0]
    return images


def step(model: nn.Module, images: List[dict]) -> Dict[str, torch.Tensor]:
    """Losses and gradients of a training step; those of losses are this rank's, those of gradients all ranks'."""
    inner = getattr(model, 'module', model)
    model.zero_grad()
    losses = model(**inner.data_preprocessor(collate(images), True), mode='loss')
    total, parts = inner.parse_losses(losses)
    total.backward()
    found = {name: value.detach() for name, value in parts.items()}
    found.update(
        (f'gradient of {name}', parameter.grad)
        for name, parameter in inner.named_parameters()
        if parameter.grad is not None
    )
    return found


def metrics_of(images: List[dict], of_rank: List[dict], ann_file: str) -> Dict[str, float]:
    """The metrics of ``images``, of which this rank looks at some; a model that has learnt nothing finds enough."""
    model = make_detector(score_thr=0.0)
    metric = TwoReadingsMetric(ann_file, collect_device='gpu')
    metric.dataset_meta = dict(classes=('cat', 'dog', 'hen'))
    for image in of_rank:  # one by one, so that each is computed alike
        samples = model.val_step(collate([image]))
        metric.process({}, [sample.to_dict() for sample in samples])
    return metric.evaluate(len(images))


def rank_main(rank: int, size: int, folder: str) -> None:
    """Compute as rank ``rank`` of ``size``; rank 0 saves what all have found."""
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', f'file://{folder}/rendezvous', rank=rank, world_size=size)
    found = {}
    for name in (*HEADS, *CONDINST):
        model = MMDistributedDataParallel(
            make(name), broadcast_buffers=False, find_unused_parameters=name == 'condinst-o2m'
        )
        for batch in BATCHES:
            found[name, batch] = average(step(model, images_of(name, batch)[rank::size]), size)
    images = make_images(5)
    padded = (images + images)[rank : 3 * size : size]
    found['metrics'] = metrics_of(images, padded, f'{folder}/truth.json')
    if rank == 0:
        torch.save(found, f'{folder}/found.pt')
    distributed.destroy_process_group()


def average(found: Dict[str, torch.Tensor], size: int) -> Dict[str, torch.Tensor]:
    """The mean over ranks of each loss; gradients are averaged already."""
    for name, value in found.items():
        if not name.startswith('gradient'):
            distributed.all_reduce(value)
            found[name] = value / size
    return found


def alone(folder: str) -> dict:
    """The same by one process."""
    found = {}
    for name in (*HEADS, *CONDINST):
        model = make(name)
        for batch in BATCHES:
            found[name, batch] = step(model, images_of(name, batch))
    images = make_images(5)
    found['metrics'] = metrics_of(images, images, write_annotations(folder / 'truth.json', images))
    return found
