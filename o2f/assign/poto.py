"""POTO's selection: one anchor per instance, by Hungarian matching on Eq. 1.

POTO is the one-to-one assignment of DeFCN, the paper's main baseline. Section 3.2 takes the top anchor instead, as
[`OneToFewSelection`][o2f.OneToFewSelection] does with ``k=0``.
"""

from typing import Tuple

import torch
from mmdet.registry import TASK_UTILS
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from o2f.assign.centre_region import AnchorGrid
from o2f.assign.matching_score import Candidates, Instances, MatchingScore
from o2f.assign.selection import Selected


@TASK_UTILS.register_module()
class HungarianSelection(MatchingScore):
    """One anchor per instance by Hungarian matching.

    As many instances as possible get an anchor. Among all such matchings, the one with the greatest sum of Eq. 1 over
    the image is taken. An instance without a candidate gets no anchor; DeFCN's code gives it an arbitrary one.

    Args:
        alpha (float): see [`MatchingScore`][]. DeFCN uses 0.8.
        metric (str): see [`MatchingScore`][]. DeFCN uses 'multiply'.
        radius (float | str, optional): see [`MatchingScore`][]. DeFCN uses 1.5, and on CrowdHuman the whole box (None).

    Raises:
        ValueError: an argument is out of its range.
    """

    def set_epoch(self, epoch: int, max_epochs: int) -> None:
        """Do nothing: the selection does not depend on the epoch."""

    @torch.no_grad()
    def __call__(
        self, cls_logits: Tensor, centerness_logits: Tensor, boxes: Tensor, instances: Instances, grid: AnchorGrid
    ) -> Selected:
        """Select for a batch. The matching itself runs on the host.

        The arguments are those of [`MatchingScore.candidates`][].

        Returns:
            Selected: (G, 1) anchors. All anchors that are kept are certain.
        """
        arguments = cls_logits, centerness_logits, boxes, instances, grid
        found = Candidates(*self.in_parts(lambda some: tuple(vars(some).values()), *arguments))
        score, inside, anchor, image = (x.cpu() for x in (found.score, found.inside, found.anchor, instances.image))
        column = torch.zeros(len(score), dtype=torch.long)
        kept = torch.zeros(len(score), dtype=torch.bool)
        for number in image.unique():
            rows = (image == number).nonzero().squeeze(1)
            column[rows], kept[rows] = _match(score[rows], inside[rows], anchor[rows])
        column, kept = column.to(boxes.device).unsqueeze(1), kept.to(boxes.device).unsqueeze(1)
        anchor, p, iou = (values.gather(1, column) for values in (found.anchor, found.p, found.iou))
        return Selected(anchor, p, kept, kept, iou)


def _match(score: Tensor, inside: Tensor, anchor: Tensor) -> Tuple[Tensor, Tensor]:
    """Match the n instances of one image, each with M candidates.

    Returns:
        tuple[Tensor, Tensor]: (n,) the column of each instance's candidate, and whether the instance got one.
    """
    # SciPy refuses NaN. A training that diverges must fail with the message about its loss, not here.
    score = score.double().nan_to_num()
    unique, place = anchor.where(inside, -1).unique(return_inverse=True)
    # A candidate counts more than any sum of scores, so that as many instances as possible are matched. Eq. 1 lies
    # between 0 and 1; a cost is negative.
    reach = score.where(inside, 0).abs().max().clamp(min=1) if score.numel() else 1
    value = torch.zeros(len(score), len(unique), dtype=torch.double)
    value.scatter_(1, place, (score + 2 * reach * len(score)).where(inside, 0))
    row, chosen = linear_sum_assignment(value.numpy(), maximize=True)
    kept = torch.zeros(len(score), dtype=torch.bool)
    column = torch.zeros(len(score), dtype=torch.long)
    row, chosen = torch.from_numpy(row), torch.from_numpy(chosen)
    kept[row] = value[row, chosen] > 0
    matches = inside[row] & (place[row] == chosen.unsqueeze(1))
    column[row] = matches.int().argmax(dim=1)
    return column, kept
