"""Settings that change over the epochs: T^j of Eq. 3, K, and the weight of a second branch."""

import math
from dataclasses import dataclass
from typing import Any, Union

SHAPES = ('linear', 'cosine', 'step', 'exponential')
#: A number, or the arguments of [`Schedule`][].
ScheduleConfig = Union[float, dict]


@dataclass(frozen=True)
class Schedule:
    """A number for each epoch, from ``first`` in the first epoch to ``last`` in the last.

    Equal ends give a constant. With ``last`` above ``first`` it rises.

    Attributes:
        first (float): the number of the first epoch.
        last (float): the number of the last epoch.
        shape (str): 'linear' is Eq. 3. 'cosine' is half a wave. 'step' is ``first`` in the first half of the epochs and
            ``last`` in the second. 'exponential' changes by the same factor each epoch, so it needs ends above 0.

    Raises:
        ValueError: there is no such shape, or an end does not fit it.
    """

    first: float
    last: float
    shape: str = 'linear'

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f'schedule: shape must be one of {", ".join(SHAPES)}, not {self.shape!r}')
        if self.shape == 'exponential' and not min(self.first, self.last) > 0:
            raise ValueError(f'schedule: an exponential one needs ends above 0, not {self.first!r} and {self.last!r}')

    def at(self, epoch: int, max_epochs: int) -> float:
        """The number for ``epoch`` of ``max_epochs``. Epochs count from 0."""
        end = max(max_epochs - 1, 1)
        if self.shape == 'step':
            return self.first if 2 * epoch < max_epochs else self.last
        if self.shape == 'cosine':
            return self.last + (self.first - self.last) * (1 + math.cos(math.pi * epoch / end)) / 2
        if self.shape == 'exponential':
            return self.first * (self.last / self.first) ** (epoch / end)
        return self.first + (self.last - self.first) * epoch / end


def read_schedule(config: ScheduleConfig, name: str, low: float = 0, high: float = math.inf) -> Schedule:
    """Read a setting that is a number or a schedule.

    Args:
        config (float | dict): a number, which stands for itself in every epoch, or the arguments of [`Schedule`][].
        name (str): the setting's name, for messages.
        low (float): smallest number allowed.
        high (float): largest number allowed.

    Raises:
        ValueError: it is neither, or one of its ends is out of range.
    """
    schedule = _read(config, name)
    for end in (schedule.first, schedule.last):
        if not low <= end <= high:
            limits = f'between {low} and {high}' if high < math.inf else f'{low} or more'
            raise ValueError(f'{name} must be {limits}, not {end!r}')
    return schedule


def _read(config: Any, name: str) -> Schedule:
    if isinstance(config, dict):
        try:
            return Schedule(**config)
        except TypeError:
            raise ValueError(f'{name}: a schedule has first, last and shape, not {", ".join(config)}') from None
    if isinstance(config, bool) or not isinstance(config, (int, float)):
        raise ValueError(f'{name} must be a number or a schedule, not {config!r}')
    return Schedule(config, config)
