"""``--subset``: the same training on a part of its images, as a profile of its own, such as ``desk-subset0.1``."""

import argparse
import re
from typing import Optional, Tuple

from experiments.store.errors import UserError

_MARK = '-subset'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--subset`` to the command line."""
    parser.add_argument(
        '--subset',
        metavar='SHARE',
        help='train on this share of the images, always the same ones, for as many epochs: 0.1 is a tenth.\n'
        'It is a profile of its own, such as desk-subset0.1, and never mixed with full results',
    )


def read_options(args: argparse.Namespace) -> None:
    """Give ``args.profile`` the name of the profile with its subset.

    Raises:
        UserError: the share is none, or the profile has one already.
    """
    if args.subset is None:
        return
    if _MARK in args.profile:
        raise UserError(f'--subset {args.subset}: profile {args.profile} has its share already')
    try:
        share = float(args.subset)
    except ValueError:
        share = 0.0
    if not 0.0001 <= share < 1:
        raise UserError(f'--subset {args.subset}: give a share of the images from 0.0001 to below 1, such as 0.1')
    args.profile = f'{args.profile}{_MARK}{share:g}'


def split_profile(name: str) -> Tuple[str, Optional[float]]:
    """The profile behind a name, and the share of its training images; None for all of them.

    Raises:
        UserError: the share is none.
    """
    base, mark, share = name.partition(_MARK)
    if not mark:
        return name, None
    if not re.fullmatch(r'0\.\d+', share) or f'{float(share):g}' != share:
        raise UserError(f'no profile {name!r}: after {_MARK} comes a share between 0 and 1, such as 0.1')
    return base, float(share)
