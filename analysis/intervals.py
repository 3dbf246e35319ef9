"""How sure a difference is: its error from trainings and from test images, and how many seeds would settle it."""

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import numpy as np
from scipy.stats import t as student

#: A cell shows the noise of its training from so many seeds on.
ENOUGH_SEEDS = 3
#: What the shown intervals cover.
CONFIDENCE = 0.95
_MANY = 1000


@dataclass(frozen=True)
class Trainings:
    """The trainings of one side of a comparison, or of both where they are the same.

    Attributes:
        number (int): how many there are.
        variance (float, optional): of the value of one training, None where it is not known.
        freedom (int): degrees of freedom of that variance.
    """

    number: int
    variance: Optional[float]
    freedom: int


@dataclass(frozen=True)
class Difference:
    """A difference and what is known of its error.

    Attributes:
        effect (float): the left side less the right side.
        trainings (sequence): one entry where both sides are the same trainings, else one for each.
        image_error (float, optional): its standard error over test images, None where there are no matches.
        images (int): how many images those are.
    """

    effect: float
    trainings: Sequence[Trainings]
    image_error: Optional[float]
    images: int

    @property
    def training_error(self) -> Optional[float]:
        """The standard error over trainings; None where nothing is known of one of them."""
        known = [each.variance / each.number for each in self.trainings if each.variance is not None]
        return math.sqrt(sum(known)) if len(known) == len(self.trainings) else None

    def interval(self, confidence: float = CONFIDENCE) -> Optional[Tuple[float, float]]:
        """Student's interval with the errors that are known; None where none is."""
        half = self._half_width(confidence, [each.number for each in self.trainings])
        return None if half is None else (self.effect - half, self.effect + half)

    def seeds_to_settle(self, confidence: float) -> Optional[int]:
        """With how many seeds per cell, all in all, the interval would leave 0 out if the effect and the spread stay as
        they are; None where nothing is known of the noise of trainings or the images alone leave it open."""
        if self.training_error is None:
            return None
        numbers = range(max(2, 1 + max(each.number for each in self.trainings)), _MANY)

        def settled(number: int) -> bool:
            half = self._half_width(confidence, [number] * len(self.trainings), more=True)
            return half is not None and half < abs(self.effect)

        first = bisect_left(numbers, True, key=settled)
        return numbers[first] if first < len(numbers) else None

    def _half_width(self, confidence: float, numbers: Sequence[int], more: bool = False) -> Optional[float]:
        """``more`` says that ``numbers`` are not the seeds there are: then the spread would be known from them."""
        parts = []  # (variance of the difference, degrees of freedom)
        if self.image_error is not None:
            parts.append((self.image_error**2, self.images - 1))
        for each, number in zip(self.trainings, numbers):
            if each.variance is not None:
                freedom = max(each.freedom, number - 1) if more else each.freedom
                parts.append((each.variance / number, freedom))
        if not parts or self.image_error is None and self.training_error is None:
            return None
        total = sum(variance for variance, _ in parts)
        if total == 0:
            return 0.0
        # Welch and Satterthwaite's degrees of freedom of a sum of variances.
        of_sum = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
        return float(student.ppf((1 + confidence) / 2, of_sum) * np.sqrt(total))
