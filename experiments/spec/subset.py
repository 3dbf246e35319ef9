"""``--subset``: the same training on a part of its images. It is a profile of its own, such as ``desk-subset0.1``."""

import re
from typing import Optional, Tuple

from experiments.store.errors import UserError

_MARK = '-subset'


def subset_profile(profile: str, text: str) -> str:
    """The name of a profile with the share of its images that ``--subset`` gives as ``text``.

    Raises:
        UserError: the text is not a valid share, or the profile has a share already.
    """
    if _MARK in profile:
        raise UserError(f'--subset {text}: profile {profile} has its share already')
    try:
        share = float(f'{float(text):g}')  # as the name has it
    except ValueError:
        share = 0.0
    if not 0.0001 <= share < 1:
        raise UserError(f'--subset {text}: give a share of the images from 0.0001 to below 1, such as 0.1')
    return f'{profile}{_MARK}{share:g}'


def split_profile(name: str) -> Tuple[str, Optional[float]]:
    """The profile without its subset, and the share of its training images; None for all of them.

    Raises:
        UserError: the share is not valid.
    """
    base, mark, share = name.partition(_MARK)
    if not mark:
        return name, None
    if not re.fullmatch(r'0\.\d+', share) or f'{float(share):g}' != share:
        raise UserError(f'no profile {name!r}: after {_MARK} comes a share between 0 and 1, such as 0.1')
    return base, float(share)
