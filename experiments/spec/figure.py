"""Which detectors, images and settings a figure shows.

A figure file is YAML; all figures have::

    title: text
    source: where in the paper it stands
    kind: detections                         # or assignment
    images: {rule: most overlaps, count: 3}       # one of RULES, and how many images

and one that shows detections::

    panels:                                  # one detector each, side by side
      - {label: FCOS, cell: {table: table5, at: {method: FCOS, schedule: 1x}}}
    reading: without_nms                     # or with_nms
    recall: 0.5                              # each panel shows its best detections, down to where it finds this share
                                             # of all objects of the validation set

and one that shows targets during training::

    cell: {table: fig5, at: {method: o2f}}   # the one detector
    stages:                                  # when: a share of the epochs, and what that is called
      - {label: early, of_epochs: 0.25}
    instances: 3                             # of the image, from the smallest to the largest
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple, Union

from experiments.spec.config import Run, resolve
from experiments.spec.schema import READINGS, load_table, select
from experiments.spec.yaml_file import YamlFile, read_yaml
from experiments.store.errors import UserError

#: What an image can be shown for (experiments/qualitative/images.py).
RULES = ('most overlaps', 'typical overlaps', 'sizes')
FOLDER = Path(__file__).parents[1] / 'figures'


@dataclass(frozen=True)
class CellName:
    """A cell of a table: the table's name and where it stands (axis name -> value name)."""

    table: str
    at: Dict[str, str]

    @property
    def command(self) -> str:
        """What trains it, without options for the seed and the folders."""
        only = ''.join(f' --only {axis}={value}' for axis, value in self.at.items())
        return f'python experiments/run.py {self.table}{only}'

    @property
    def setting(self) -> str:
        """What the paper measured the table on."""
        return load_table(self.table).setting

    def run(self, profile: str, seed: int) -> Run:
        """The training that fills it.

        Raises:
            UserError: there is no such table, axis or value, or cells of several trainings stand there.
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


@dataclass(frozen=True)
class Panel:
    """One detector of a figure, and what it is called there."""

    label: str
    cell: CellName


@dataclass(frozen=True)
class Stage:
    """A moment of training: the end of this share of the epochs."""

    label: str
    of_epochs: float

    def epoch(self, max_epochs: int) -> int:
        """The epoch, counted from 1, at whose end it is."""
        return max(math.ceil(round(self.of_epochs * max_epochs, 6)), 1)


@dataclass(frozen=True)
class _Figure:
    name: str
    title: str
    source: str
    rule: str
    count: int


@dataclass(frozen=True)
class DetectionsFigure(_Figure):
    """A figure of detections: one panel per detector."""

    panels: Tuple[Panel, ...]
    reading: str
    recall: float

    @property
    def labels(self) -> List[str]:
        """What files of weights can be given for."""
        return [panel.label for panel in self.panels]


@dataclass(frozen=True)
class AssignmentFigure(_Figure):
    """A figure of targets in training: one detector at several stages."""

    cell: CellName
    stages: Tuple[Stage, ...]
    instances: int

    @property
    def labels(self) -> List[str]:
        """What files of weights can be given for."""
        return [stage.label for stage in self.stages]


Figure = Union[DetectionsFigure, AssignmentFigure]


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
    return _Reader(path).figure(read_yaml(path))


class _Reader(YamlFile):
    """Turns the YAML of one file into a figure; every complaint names the file and the key."""

    SHARED = {'title', 'source', 'kind', 'images'}
    KINDS = {'detections': {'panels', 'reading', 'recall'}, 'assignment': {'cell', 'stages', 'instances'}}

    def figure(self, content: Any) -> Figure:
        self.mapping(content, 'the file', required={'kind'})
        kind = content['kind']
        if kind not in self.KINDS:
            self.fail('kind', f'{kind!r} must be {" or ".join(self.KINDS)}')
        keys = self.SHARED | self.KINDS[kind]
        self.mapping(content, 'the file', keys, keys)
        images = self.mapping(content['images'], 'images', {'rule', 'count'}, {'rule', 'count'})
        if images['rule'] not in RULES:
            self.fail('images.rule', f'{images["rule"]!r} must be {" or ".join(RULES)}')
        shared = dict(
            name=self.path.stem,
            title=str(content['title']),
            source=str(content['source']),
            rule=images['rule'],
            count=self._count(images['count'], 'images.count'),
        )
        return self._detections(content, shared) if kind == 'detections' else self._assignment(content, shared)

    def _detections(self, content: dict, shared: dict) -> DetectionsFigure:
        panels = [
            self.mapping(panel, f'panels[{i}]', {'label', 'cell'}, {'label', 'cell'})
            for i, panel in enumerate(self.list(content['panels'], 'panels'))
        ]
        if content['reading'] not in READINGS:
            self.fail('reading', f'{content["reading"]!r} must be {" or ".join(READINGS)}')
        return DetectionsFigure(
            **shared,
            panels=tuple(
                Panel(str(panel['label']), self._cell(panel['cell'], f'panels[{i}].cell'))
                for i, panel in enumerate(panels)
            ),
            reading=content['reading'],
            recall=self._share(content['recall'], 'recall'),
        )

    def _assignment(self, content: dict, shared: dict) -> AssignmentFigure:
        stages = [
            self.mapping(stage, f'stages[{i}]', {'label', 'of_epochs'}, {'label', 'of_epochs'})
            for i, stage in enumerate(self.list(content['stages'], 'stages'))
        ]
        return AssignmentFigure(
            **shared,
            cell=self._cell(content['cell'], 'cell'),
            stages=tuple(
                Stage(str(stage['label']), self._share(stage['of_epochs'], f'stages[{i}].of_epochs'))
                for i, stage in enumerate(stages)
            ),
            instances=self._count(content['instances'], 'instances'),
        )

    def _cell(self, content: Any, where: str) -> CellName:
        self.mapping(content, where, {'table', 'at'}, {'table', 'at'})
        at = self.mapping(content['at'], f'{where}.at')
        return CellName(str(content['table']), {axis: str(value) for axis, value in at.items()})

    def _count(self, value: Any, where: str) -> int:
        if type(value) is not int or value < 1:
            self.fail(where, f'{value!r} must be a whole number, 1 or more')
        return value

    def _share(self, value: Any, where: str) -> float:
        if type(value) not in (int, float) or not 0 <= value <= 1:
            self.fail(where, f'{value!r} must be a number from 0 to 1')
        return float(value)
