"""``python -m o2f SCRIPT ARGUMENTS`` imports this package and then runs a script of MMDetection.

An error in the user's data or settings is printed as one line, and the exit status is then 2.

Some scripts, such as ``tools/test.py``, import MMDetection's models before they read a config. The config's
``custom_imports`` then come too late, and with ``mmcv-lite`` alone the import fails. ``tools/train.py`` needs no help.
"""

import os
import runpy
import sys
from typing import NoReturn

from o2f.errors import InputError, of_worker


def main() -> None:
    """Run the script as if it were called directly."""
    usage = 'usage: python -m o2f SCRIPT [ARGUMENT ...]'
    if sys.argv[1:2] in (['-h'], ['--help']):
        print(usage)
        return
    if len(sys.argv) < 2:
        _refuse(usage)
    del sys.argv[0]
    if not os.path.isfile(sys.argv[0]):
        _refuse(f'o2f: there is no script {sys.argv[0]}')
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
    except InputError as error:
        _refuse(f'o2f: {of_worker(error)}')


def _refuse(line: str) -> NoReturn:
    print(line, file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
    main()
