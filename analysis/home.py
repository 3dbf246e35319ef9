"""Where the folders of runs and data lie unless the command line names others."""

from pathlib import Path

_CODE = Path(__file__).resolve().parents[1]
#: The checkout. Of an installed package it is the current folder, as nobody looks for results among packages.
HOME = _CODE if (_CODE / 'pyproject.toml').exists() else Path.cwd()
RUNS, DATA = HOME / 'runs', HOME / 'data'
