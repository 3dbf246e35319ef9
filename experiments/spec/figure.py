"""Which detectors, images and settings a figure shows.

A figure file is YAML. All figures have::

    title: text
    source: where in the paper it stands
    kind: detections                         # or assignment
    images: {rule: most overlaps, count: 3}       # one of RULES, and how many images

A figure of detections also has::

    panels:                                  # one detector each, side by side
      - {label: FCOS, cell: {table: table5, at: {method: FCOS, schedule: 1x}}}
    reading: without_nms                     # or with_nms
    recall: 0.5                              # each panel shows its best detections, as many as find this share of all
                                             # objects of the validation set

A figure of targets during training also has::

    cell: {table: fig5, at: {method: o2f}}   # the one detector
    stages:                                  # when: a share of the epochs, and its label
      - {label: early, of_epochs: 0.25}
    instances: 3                             # of the image, from the smallest to the largest
"""

import math
from pathlib import Path
from typing import Annotated, Dict, List, Literal, Tuple, Type, Union

from pydantic import Field, StrictInt, StrictStr

from experiments.spec.config import Run, resolve
from experiments.spec.table_file import load_table, select
from experiments.store.errors import UserError
from experiments.store.files import read_yaml
from experiments.store.model import Model, Number, Text, naming

#: Rules that choose images (experiments/qualitative/images.py).
RULES = ('most overlaps', 'typical overlaps', 'sizes')
FOLDER = Path(__file__).parents[1] / 'figures'
Count = Annotated[StrictInt, Field(ge=1)]
Share = Annotated[Number, Field(ge=0, le=1)]


class CellName(Model):
    """A cell of a table: the table's name and the cell's position (axis name -> value name)."""

    table: Text
    at: Dict[StrictStr, Text]

    @property
    def command(self) -> str:
        """The command that trains it, without options for the seed and the folders."""
        only = ''.join(f' --only {axis}={value}' for axis, value in self.at.items())
        return f'python experiments/run.py {self.table}{only}'

    @property
    def setting(self) -> str:
        """The setting in which the paper measured the table."""
        return load_table(self.table).setting

    def run(self, profile: str, seed: int) -> Run:
        """The training that fills it.

        Raises:
            UserError: there is no such table, axis or value, or the position has cells of several trainings.
        """
        table = load_table(self.table)
        source = f'table file {table.name}.yaml'
        runs = [
            resolve(profile, cell.use, cell.overrides, seed, source)
            for cell in select(table, [(axis, str(value)) for axis, value in self.at.items()])
        ]
        if len({run.id for run in runs}) > 1:
            raise UserError(f'{len(runs)} cells of {self.table} stand at {self.at}: name one')
        return runs[0]


class Panel(Model):
    """One detector of a figure, and its label."""

    label: Text
    cell: CellName


class Stage(Model):
    """A moment of training: the end of this share of the epochs."""

    label: Text
    of_epochs: Share

    def epoch(self, max_epochs: int) -> int:
        """The epoch, counted from 1, whose end is this stage."""
        return max(math.ceil(round(self.of_epochs * max_epochs, 6)), 1)


class Images(Model):
    """Which images of the validation set a figure shows: a rule that ranks them, and how many."""

    rule: Literal[RULES]  # type: ignore[valid-type]
    count: Count


class DetectionsFigure(Model):
    """A figure of detections, with one panel per detector."""

    name: StrictStr
    title: Text
    source: Text
    kind: Literal['detections']
    images: Images
    panels: Tuple[Panel, ...] = Field(min_length=1)
    reading: Literal['without_nms', 'with_nms']
    recall: Share

    @property
    def labels(self) -> List[str]:
        """The labels for which ``--weights`` may give a file."""
        return [panel.label for panel in self.panels]


class AssignmentFigure(Model):
    """A figure of targets in training, with one detector at several stages."""

    name: StrictStr
    title: Text
    source: Text
    kind: Literal['assignment']
    images: Images
    cell: CellName
    stages: Tuple[Stage, ...] = Field(min_length=1)
    instances: Count

    @property
    def labels(self) -> List[str]:
        """The labels for which ``--weights`` may give a file."""
        return [stage.label for stage in self.stages]


Figure = Union[DetectionsFigure, AssignmentFigure]
_KINDS: Dict[str, Type[Figure]] = {'detections': DetectionsFigure, 'assignment': AssignmentFigure}


def figure_names(folder: Path = FOLDER) -> List[str]:
    """Names of all figure files, sorted."""
    return sorted(path.stem for path in folder.glob('*.yaml'))


def load_figure(name: str, folder: Path = FOLDER) -> Figure:
    """Read a figure by its name, or from a path that ends in .yaml.

    Raises:
        UserError: there is no such figure, or its file is broken; the message names the file and the key.
    """
    path = Path(name) if name.endswith('.yaml') else folder / f'{name}.yaml'
    if not path.is_file():
        raise UserError(f'no figure {name!r}: there is no file {path}. Known: {", ".join(figure_names(folder))}')
    content = read_yaml(path)
    with naming(path):
        if not isinstance(content, dict) or content.get('kind') not in list(_KINDS):
            raise ValueError(f'kind: must be {" or ".join(_KINDS)}')
        return _KINDS[content['kind']].model_validate({**content, 'name': path.stem})
