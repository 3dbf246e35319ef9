"""How much memory a process of a run needs: from finished runs of its kind, or as measured on generated data."""

from typing import Dict

from experiments.commands.estimate.cost_key import cost_key
from experiments.store.errors import UserError
from experiments.store.runs import RunFolder

#: Peak of a run on generated data, in bytes. docs/clusters.md has the measurement.
ON_GENERATED_DATA = 700 * 10**6


def memory_needed(configs: Dict[str, dict], folders: Dict[str, RunFolder]) -> int:
    """Bytes of memory that one process of the largest of these runs needs; 0 if that is not known.

    Args:
        configs (dict): configs of the runs, by id, the finished ones included.
        folders (dict): their folders, by id.
    """
    kinds: Dict[str, int] = {}
    for run_id, config in configs.items():
        kind = cost_key(config)
        kinds[kind] = max(kinds.get(kind, 0), _measured(folders[run_id]))
        if not kinds[kind] and config.get('generate'):
            kinds[kind] = ON_GENERATED_DATA
    return max(kinds.values(), default=0)


def _measured(folder: RunFolder) -> int:
    try:
        result = folder.result()
    except UserError:  # a damaged file says nothing
        return 0
    return (result or {}).get('provenance', {}).get('memory', 0)
