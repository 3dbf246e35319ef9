"""A second branch that only training sees: dual assignment, as in DATE, YOLOv10 and YOLO26.

The main branch learns to detect without NMS. The second learns from more positives and shares layers with it, so that
these layers learn from both. Inference and export run the main branch alone.
"""

from typing import Any, Dict, List, Optional, Tuple

from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from o2f.assign.schedule import ScheduleConfig, read_schedule
from o2f.models.head import OneToFewHead

#: Maps of the classification tower and of the regression tower, (B, C, H, W) per level.
Towers = Tuple[List[Tensor], List[Tensor]]


@MODELS.register_module()
class SecondBranch(OneToFewHead):
    """The second branch of a [`OneToFewHead`][], with its own selection, degrees and losses.

    Args:
        *args (Any): arguments of [`OneToFewHead`][].
        shares (str): what it shares with the main branch. 'towers': it has output layers of its own. 'neck': it has
            towers of its own too. 'predictors': it has no layers, and trains the main branch's predictions with its own
            targets. Its ``score_factor`` says which factor of the main branch takes part. DeFCN's auxiliary loss is
            such a branch.
        stop_gradient (str): the branch that does not train what both share, 'main' or 'second', or 'none'.
        weight (float | dict): factor on its losses, or a [`Schedule`][o2f.assign.schedule.Schedule] of it.
        main_weight (float | dict): factor on the main branch's losses.
        **kwargs (Any): arguments of [`OneToFewHead`][].

    Raises:
        ValueError: an argument is out of its range, or does not fit another.
    """

    def __init__(
        self,
        *args,
        shares: str = 'towers',
        stop_gradient: str = 'none',
        weight: ScheduleConfig = 1.0,
        main_weight: ScheduleConfig = 1.0,
        **kwargs,
    ) -> None:
        if shares not in ('neck', 'towers', 'predictors'):
            raise ValueError(f"second: shares must be 'neck', 'towers' or 'predictors', not {shares!r}")
        if stop_gradient not in ('none', 'main', 'second'):
            raise ValueError(f"second: stop_gradient must be 'none', 'main' or 'second', not {stop_gradient!r}")
        if kwargs.get('second'):
            raise ValueError('second: a second branch has no second branch of its own')
        self.shares = shares
        self.stop_gradient = stop_gradient
        self.weights = {
            name: read_schedule(value, f'second: {name}')
            for name, value in (('weight', weight), ('main_weight', main_weight))
        }
        self.weight, self.main_weight = (schedule.first for schedule in self.weights.values())
        if shares == 'predictors':
            kwargs['init_cfg'] = None  # there is nothing to initialise
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        if self.shares == 'neck':
            self._init_cls_convs()
            self._init_reg_convs()
        if self.shares != 'predictors':
            self._init_predictor()

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Tell the parts and the weights which epoch of ``max_epochs`` it is. Epochs count from 0."""
        super().set_epoch(epoch, max_epochs)
        self.weight, self.main_weight = (schedule.at(epoch, max_epochs) for schedule in self.weights.values())

    def maps_of_both(self, head: OneToFewHead, x: Tuple[Tensor]) -> Tuple[Towers, Towers]:
        """The maps that both branches predict from.

        Args:
            head (OneToFewHead): the head of the main branch.
            x (tuple[Tensor]): maps of the FPN, (B, in_channels, H, W) per level.

        Returns:
            tuple: of the main branch and of the second, the maps of the classification and of the regression tower.
        """
        if self.shares == 'neck':
            return head.towers(self._stopped(x, 'main')), self.towers(self._stopped(x, 'second'))
        shared = head.towers(x)
        return (
            tuple(self._stopped(maps, 'main') for maps in shared),
            tuple(self._stopped(maps, 'second') for maps in shared),
        )

    def _stopped(self, maps, branch: str):
        return [map_.detach() for map_ in maps] if self.stop_gradient == branch else maps

    def detect_by_feat(self, head: OneToFewHead, x: Tuple[Tensor], **settings: Any) -> List[InstanceData]:
        """The detections of this branch, which must have predictors of its own, to compare it with the main one.

        Args:
            head (OneToFewHead): the head of the main branch.
            x (tuple[Tensor]): maps of the FPN, (B, in_channels, H, W) per level.
            **settings (Any): arguments of MMDetection's ``predict_by_feat``.
        """
        return self.predict_by_feat(*self.predict_from(*self.maps_of_both(head, x)[1]), **settings)

    def losses(
        self,
        head: OneToFewHead,
        maps: Towers,
        truth: List[InstanceData],
        metas: List[dict],
        ignored: Optional[List[InstanceData]],
    ) -> Dict[str, Tensor]:
        """The weighted losses of this branch, under names that begin with ``second_``.

        Args:
            head (OneToFewHead): the head of the main branch.
            maps (tuple): its maps, from [`SecondBranch.maps_of_both`][].
            truth (list[InstanceData]): see [`OneToFewHead.loss_by_feat`][].
            metas (list[dict]): see [`OneToFewHead.loss_by_feat`][].
            ignored (list[InstanceData], optional): see [`OneToFewHead.loss_by_feat`][].
        """
        predictor = head if self.shares == 'predictors' else self
        # CondInst's head predicts a fourth thing, the weights of masks, which only its main branch trains.
        outputs = predictor.predict_from(*maps, factor=self.score_factor)[:3]
        predictions = self._predictions(*outputs)
        # The main branch's, as CondInst's head takes the centres of masks.
        instances = head._gather_instances(truth, metas, predictions.boxes.device)
        found, _ = self._losses_and_targets(predictions, instances, truth, ignored)
        return {f'second_{name}': self.weight * loss for name, loss in found.items() if 'loss' in name}
