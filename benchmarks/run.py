"""Measure the speed and memory of this code beside what it is compared with, and print tables of ratios.

python benchmarks/run.py                       # everything; about an hour on two cores
python benchmarks/run.py assignment loss       # some of it
python benchmarks/run.py --list
python benchmarks/run.py --device cuda --write  # what a GPU decides; within ten minutes
python benchmarks/run.py --quick               # small sizes, to see that everything runs; its figures mean nothing
python benchmarks/run.py --write               # store what is measured, and write docs/benchmarks.md from all stored
"""

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import List, Optional

ROOT = Path(__file__).resolve().parent.parent
if __package__ in (None, ''):
    sys.path[0] = str(ROOT)  # run as a script: the packages lie beside this folder
warnings.filterwarnings('ignore')  # of other packages; they would stand between the tables
os.environ.setdefault('OMP_NUM_THREADS', '1')  # read when torch is imported

from benchmarks import DRAWN, NAMES, ON_GPU, module_of  # noqa: E402 - the path is set first
from benchmarks.page import picture, store, write_page  # noqa: E402
from benchmarks.rows import table  # noqa: E402


def main(argv: Optional[List[str]] = None) -> int:
    """The command line.

    Returns:
        int: 0 when all was measured, whether the targets were met or not; 2 for wrong arguments.
    """
    args = _parse(argv)
    if args.list:
        for name in NAMES:
            print(f'{name:12}{_title(name)}')
        return 0
    for name in args.names or (ON_GPU if args.device == 'cuda' else NAMES):
        _run(name, args)
    if args.write:
        write_page()
    return 0


def _parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='benchmarks/run.py', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('names', nargs='*', metavar='NAME', help='benchmarks (default: all)')
    parser.add_argument('--list', action='store_true', help='list the benchmarks')
    parser.add_argument('--quick', action='store_true', help='small sizes and one repeat')
    parser.add_argument('--write', action='store_true', help='store the figures and write docs/benchmarks.md')
    parser.add_argument(
        '--device', choices=('cpu', 'cuda'), help='where to measure (default: a GPU where there is one)'
    )
    args = parser.parse_args(argv)
    if args.device == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''  # read when torch first asks for a GPU
    if args.device == 'cuda' and not _has_gpu():
        parser.error('--device cuda: PyTorch finds no GPU; nvidia-smi and python -m torch.utils.collect_env say more')
    unknown = [name for name in args.names if name not in NAMES]
    if unknown:
        parser.error(f'there is no benchmark {unknown[0]}; there are {", ".join(NAMES)}')
    if args.quick and args.write:
        parser.error('figures of --quick are not worth keeping: give --quick or --write')
    return args


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _title(name: str) -> str:
    return module_of(name).__doc__.splitlines()[0]


def _run(name: str, args: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(1)
    options = {}
    if args.write and name in DRAWN:
        options['figure'] = picture(name)
    rows = module_of(name).measure(args.quick, **options)
    print(f'\n{_title(name)}\n\n{table(rows)}', flush=True)
    if args.write:
        store(name, rows)


if __name__ == '__main__':
    sys.exit(main())
