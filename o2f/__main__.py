"""``python -m o2f SCRIPT ARGUMENTS`` runs a script of MMDetection's with this package imported first.

Where only ``mmcv-lite`` is installed, scripts that import MMDetection's models before they read a config, such as
``tools/test.py``, fail otherwise: the config's ``custom_imports`` come too late. ``tools/train.py`` needs no help.
"""

import runpy
import sys


def main() -> None:
    """Run the script as if it had been called by its name."""
    if len(sys.argv) < 2:
        sys.exit('usage: python -m o2f SCRIPT [ARGUMENT ...]')
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name='__main__')


if __name__ == '__main__':
    main()
