"""From which score on a detector's findings are shown.

Scores of detectors trained by different losses do not compare: at one threshold one of them shows a few sure findings
and another everything it suspects. So each is cut where it finds the same share of all objects.
"""

import math
from typing import Iterable, Tuple

from analysis.captures import Shapes
from analysis.duplicates import BEST, judge


def threshold(images: Iterable[Tuple[Shapes, Shapes]], recall: float) -> Tuple[float, float]:
    """The highest score from which on at least a share of all objects is found.

    Args:
        images (iterable[tuple[Shapes, Shapes]]): of each image what was found, with scores, and the annotations.
        recall (float): the share, from 0 to 1.

    Returns:
        tuple[float, float]: the score, and the share that is found; less than ``recall`` where the detector never
        finds so many. Where it finds nothing the score is 1.
    """
    scores, objects = [], 0
    for found, truth in images:
        kind, _ = judge(found, truth)  # what is found from a score on does not hang on what scores less
        assert found.scores is not None and truth.ignored is not None  # judge needs them too
        scores += found.scores[kind == BEST].tolist()
        objects += int((~truth.ignored).sum())
    scores.sort(reverse=True)
    wanted = min(max(math.ceil(round(recall * objects, 6)), 1), len(scores))
    if not wanted:
        return 1.0, 0.0
    score = scores[wanted - 1]
    return score, sum(each >= score for each in scores) / objects
