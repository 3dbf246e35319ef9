"""The data and the backbone that a profile needs: generated on first use, or checked."""

from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from experiments.data.annotations import look
from experiments.data.weights import ensure_weights
from experiments.machine import cores
from experiments.spec.config import Run
from experiments.spec.paths import data_paths, generated, makes_data, substitute_paths
from experiments.store.files import cannot_write

#: Called with (what is being made, units done, units in total).
Progress = Callable[[str, int, int], None]


def prepare_runs(
    runs: List[Run],
    data: Path,
    progress: Progress,
    in_process: Callable,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """:func:`prepare` for the configs of runs, and the ImageNet weights that they start from.

    Raises:
        UserError: see :func:`prepare`; or the weights cannot be downloaded.
    """
    configs = [run.config for run in runs]
    prepare(configs, data, progress, in_process, say=say)
    ensure_weights(configs, progress, in_process)


def prepare(
    configs: List[dict],
    data: Path,
    progress: Progress,
    in_process: Callable,
    backbone: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Generate the data of the runs' profile, or look at existing datasets; each of them once.

    Args:
        configs (list[dict]): resolved configs.
        data (Path): the data folder.
        progress (callable): called with the progress of each step.
        in_process (callable): ``in_process(function, *args)`` runs a function in a process that may import torch.
        backbone (bool): also train the backbone of a profile that generates one.
        say (callable): called with a line for each thing in the data that is changed or worth knowing.

    Raises:
        UserError: data are missing or broken, or cannot be written.
    """
    existing = [substitute_paths(config, data_paths(config, data)) for config in configs if not makes_data(config)]
    if existing:
        in_process(look, existing, say)
    made: Set[str] = set()
    for config in configs:
        wanted = {key: (name, spec) for key, (name, spec) in generated(config).items() if name not in made}
        if not backbone:
            wanted.pop('BACKBONE', None)
        if wanted:
            _make(wanted, data, progress, in_process)
            made.update(name for name, _ in wanted.values())


def _make(wanted: Dict[str, Tuple[str, Any]], data: Path, progress: Progress, in_process: Callable) -> None:
    """Generate or check each of ``wanted``, the result of :func:`generated`, in the data folder."""
    from experiments.data.synthetic.cache import ensure
    from experiments.data.synthetic.coco import write_coco
    from experiments.data.synthetic.crowd import write_crowd

    def train(spec: Any, folder: Path, report: Optional[Callable[[int, int], None]]) -> None:
        in_process(_train_backbone, spec, folder, data, report)

    root = data / 'desk'
    makers: Dict[str, Tuple[str, Callable[..., None]]] = dict(
        SCENES=('scenes', write_coco), CROWD=('crowd', write_crowd), BACKBONE=('backbone', train)
    )
    try:
        for key, (what, make) in makers.items():
            if key in wanted:
                ensure(root, what, wanted[key][1], make, partial(progress, what))
    except OSError as error:
        raise cannot_write(root, error) from error


def _train_backbone(spec: Any, folder: Path, data: Path, report: Callable[[int, int], None]) -> None:
    import torch

    from experiments.data.synthetic.backbone import train_backbone

    torch.set_num_threads(cores())
    train_backbone(spec, folder, data, report)
