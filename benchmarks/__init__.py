"""Benchmarks: one module per subject, each a list of rows; ``run.py`` runs them."""

import importlib
from types import ModuleType

#: Modules with ``measure(quick) -> list[Row]``; the first line of a module's docstring is its title.
NAMES = (
    'assignment',
    'loss',
    'growth',
    'step',
    'inference',
    'export',
    'readings',
    'metrics',
    'leave-out',
    'commands',
    'many-runs',
    'desk-step',
    'grid',
    'launchers',
    'loading',
)
#: Those that a GPU decides: ``--device cuda`` runs them unless others are named.
ON_GPU = ('assignment', 'loss', 'step', 'inference', 'loading')
#: Of these ``measure(quick, figure)`` also draws a picture, for the page.
DRAWN = ('growth',)


def module_of(name: str) -> ModuleType:
    """The module of a benchmark."""
    return importlib.import_module(f'benchmarks.{name.replace("-", "_")}')
