"""The folder of one run, which is the truth about it.

=================  =====================================================================
config.py          the resolved config, with ``${...}`` for folders of the machine (experiments/store/configs.py)
lock               held by the training process (rank 0 of several); the kernel frees it when that dies
progress.json      current epoch, number of epochs and time left (a hint; not flushed)
metrics.json       metrics of each finished epoch
epoch_<n>.pth      newest checkpoint; after the last epoch the weights alone
image_groups.json  metrics of the last epoch without each group of the test images (o2f/evaluation/leave_out.py)
breakdown.json     AP of each class in the last epoch, and what each kind of error costs (COCO's metric)
result.json        final metrics and provenance; its presence means that the run is done
failure.json       why the last attempt failed
data.json          digests of the annotation files that the run is trained on (experiments/data/annotations.py)
tracking.json      the experiment trackers of the run, if any were asked for
parts.json         the number of parts in which a batch is computed, if it was asked for
worker.log         output of the training process; with several it is that of rank 0, and rank n has worker.log.n
=================  =====================================================================
"""

import errno
import fcntl
import json
import math
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Set

from experiments.store.configs import CONFIG
from experiments.store.errors import UserError
from experiments.store.files import (
    ASIDE,
    cannot_write,
    locked,
    make_folder,
    no_locks,
    open_to_append,
    read_json,
    remove,
    rename_whole,
    write_json,
    write_whole,
)

if TYPE_CHECKING:
    from experiments.spec.config import Run

SCHEMA = 1
EPOCHS = 'metrics.json'
IMAGE_GROUPS = 'image_groups.json'
BREAKDOWN = 'breakdown.json'
SPEED_FILE = 'speed.json'
#: States of a run, from its folder alone.
WAITING, RUNNING, STOPPED, FAILED, DONE = 'waiting', 'running', 'stopped', 'failed', 'done'
#: States that a launcher with a queue adds.
QUEUED, REQUEUED = 'queued', 'requeued'


#: Files whose locks this process holds. A forked process, such as a data loader's worker, closes them at once. It may
#: outlive this process for a while, and must not hold the run's lock then.
_LOCKS: Set[IO] = set()
os.register_at_fork(after_in_child=lambda: [file.close() for file in _LOCKS])

#: Counts that a head of o2f logs (:func:`o2f.assign.degrees.positives_per_instance`) -> their names in metrics.json.
_POSITIVES = dict(certain_anchors='certain', ambiguous_anchors='ambiguous', ambiguous_degree='degree')


class Busy(Exception):
    """Another process is training this run."""


@dataclass(frozen=True)
class Status:
    """The status of a run as its folder has it: state, current epoch, number of epochs, seconds left, newest metrics,
    and a message, such as why the run failed."""

    state: str
    epoch: int = 0
    epochs: int = 0
    left_s: Optional[float] = None
    metrics: Optional[Dict[str, Optional[float]]] = None
    message: str = ''


class RunFolder:
    """Reads and writes one run's folder.

    Args:
        path (Path): the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / CONFIG
        self.log = self.log_of(0)
        self._lock = path / 'lock'
        self._progress = path / 'progress.json'
        self._metrics = path / EPOCHS
        self._image_groups = path / IMAGE_GROUPS
        self._result = path / 'result.json'
        self._failure = path / 'failure.json'
        self._tracking = path / 'tracking.json'
        self._parts = path / 'parts.json'
        self._data = path / 'data.json'
        self._unwritten = ''  # why the last attempt failed, if that could not be written

    def log_of(self, rank: int) -> Path:
        """The log file of a training process."""
        return self.path / (f'worker.log.{rank}' if rank else 'worker.log')

    def create(self, run: 'Run') -> None:
        """Create the folder and write the config. A run that is not done takes the settings that its id leaves out.

        Raises:
            UserError: the folder cannot be written.
        """
        make_folder(self.path)
        if not os.access(self.path, os.W_OK):
            raise cannot_write(self.path, OSError(errno.EACCES, 'it is read-only'))
        if not self.config.exists() or not self._result.exists() and _text_of(self.config) != run.config_text:
            write_whole(self.config, run.config_text)

    def set_tracking(self, names: List[str]) -> None:
        """Set the trackers that the run logs to from its next start on (:mod:`experiments.training.tracking`).

        Raises:
            UserError: the folder cannot be written.
        """
        if names:
            write_json(self._tracking, names)
        else:
            remove(self._tracking)

    def tracking(self) -> List[str]:
        """The trackers that :meth:`set_tracking` set."""
        return read_json(self._tracking) or []

    def set_parts(self, parts: int) -> None:
        """Set the number of parts of a batch from the run's next start on (:mod:`experiments.training.batch`).

        Raises:
            UserError: the folder cannot be written.
        """
        if parts > 1:
            write_json(self._parts, parts)
        else:
            self._parts.unlink(missing_ok=True)

    def parts(self) -> int:
        """The number that :meth:`set_parts` set, else 1."""
        return read_json(self._parts) or 1

    def set_data(self, digests: Dict[str, dict]) -> None:
        """Store the digests of the annotation files that the run is trained on.

        Raises:
            UserError: the folder cannot be written.
        """
        if digests:
            write_json(self._data, digests)

    def data(self) -> Dict[str, dict]:
        """The digests that :meth:`set_data` stored."""
        return read_json(self._data) or {}

    def sweep(self) -> None:
        """Delete the temporary files of a killed process. Only the holder of the lock may call this."""
        for path in self.path.glob(f'{ASIDE}*'):
            path.unlink()

    @contextmanager
    def lock(self, patience_s: float = 1.0) -> Iterator[None]:
        """Hold the run for this process.

        Raises:
            Busy: another process holds it.
            UserError: the folder cannot be written.
        """
        with locked(self._lock, patience_s) as file:  # status() holds it for a moment when it looks
            if file is None:
                raise Busy(self.path)
            _LOCKS.add(file)
            try:
                yield
            finally:
                _LOCKS.remove(file)

    def _is_locked(self) -> bool:
        try:
            with open(self._lock) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        except OSError as error:
            raise no_locks(self._lock, error) from error
        return False

    def status(self, held: bool = False) -> Status:
        """The run's status from its files. If one of them is damaged, the run has failed and the message says so.

        Args:
            held (bool): this process holds the run's lock and does not train the run.
        """
        try:
            return self._status(held)
        except UserError as error:
            return Status(FAILED, message=str(error))

    def _status(self, held: bool) -> Status:
        result = self.result()
        if result is not None:
            return Status(DONE, result['epochs'], result['epochs'], 0.0, result['metrics'])
        epochs = self.epochs()
        metrics = epochs[-1]['metrics'] if epochs else None
        if not held and self._is_locked():
            progress = self._read_progress()
            return Status(
                RUNNING,
                progress.get('epoch', len(epochs) + 1),
                progress.get('epochs', 0),
                progress.get('left_s'),
                metrics,
            )
        failure = read_json(self._failure)
        if failure is not None or self._unwritten:
            message = self._unwritten or failure.get('message', '')
            return Status(FAILED, len(epochs), 0, None, metrics, message)
        return Status(STOPPED if epochs else WAITING, len(epochs), 0, None, metrics)

    def check(self) -> None:
        """Check that what was trained can be read.

        Raises:
            UserError: the result or the metrics of epochs are damaged.
        """
        self.result()
        self.epochs()

    def result(self) -> Optional[dict]:
        """The final result, or None if there is none yet.

        Raises:
            UserError: result.json is damaged or of another schema.
        """
        result = read_json(self._result)
        if result is None:
            return None
        if not isinstance(result, dict) or result.get('schema') != SCHEMA or not {'metrics', 'epochs'} <= set(result):
            raise UserError(f'{self._result} is not a result of schema {SCHEMA}: delete it and run again')
        return result

    def epochs(self) -> List[dict]:
        """The records of :meth:`add_epoch`, one for each finished and evaluated epoch, in order."""
        content = read_json(self._metrics, 'delete the folder and run again')
        if content is None:
            return []
        if (
            not isinstance(content, dict)
            or content.get('schema') != SCHEMA
            or not isinstance(content.get('epochs'), list)
        ):
            raise UserError(f'{self._metrics} does not hold the metrics of epochs: delete the folder and run again')
        return content['epochs']

    def add_epoch(
        self, epoch: int, metrics: Dict[str, float], training: Dict[str, float], seconds: float, loading_s: float
    ) -> None:
        """Record an epoch. Records of this and later epochs from before a resume are dropped.

        Args:
            epoch (int): its number, counted from 1.
            metrics (dict): the metrics of its evaluation.
            training (dict): means over its iterations of the model's losses and counts of positives.
            seconds (float): its duration, the evaluation included.
            loading_s (float): how much of that was spent waiting for data.
        """
        kept = [entry for entry in self.epochs() if entry['epoch'] < epoch]
        kept.append(
            dict(
                epoch=epoch,
                metrics={name: _plain(value) for name, value in metrics.items()},
                losses={name: _short(value) for name, value in training.items() if 'loss' in name},
                positives={short: _short(training[name]) for name, short in _POSITIVES.items() if name in training},
                seconds=round(seconds, 2),
                loading_s=round(loading_s, 2),
            )
        )
        write_json(self._metrics, dict(schema=SCHEMA, epochs=kept))

    def add_image_groups(self, record: Dict[str, Any]) -> None:
        """Store what :attr:`o2f.evaluation.leave_out.LeftOut.record` gives of an evaluation."""
        write_image_groups(self._image_groups, record)

    def add_breakdown(self, values: Dict[str, Dict[str, Dict[str, float]]]) -> None:
        """Store what :attr:`o2f.TwoReadingsMetric.breakdown` gives of an evaluation."""
        write_breakdown(self.path / BREAKDOWN, values)

    def checkpoint(self) -> Optional[Path]:
        """The newest checkpoint, or None if there is none."""
        found = {
            int(match[1]): path
            for path in self.path.glob('epoch_*.pth')
            if (match := re.fullmatch(r'epoch_(\d+)\.pth', path.name))
        }
        return found[max(found)] if found else None

    def add_checkpoint(self, aside: Path, epoch: int) -> None:
        """Rename a checkpoint from its temporary name, then delete older ones."""
        newest = self.path / f'epoch_{epoch}.pth'
        rename_whole(aside, newest)
        for path in self.path.glob('epoch_*.pth'):
            if path != newest:
                path.unlink()

    def set_progress(self, epoch: int, epochs: int, left_s: Optional[float]) -> None:
        """Record the current epoch, counted from 1, the number of epochs, and the seconds left. A mere hint."""
        aside = self.path / f'{ASIDE}progress'
        aside.write_text(json.dumps(dict(epoch=epoch, epochs=epochs, left_s=left_s)))
        aside.replace(self._progress)

    def _read_progress(self) -> dict:
        try:
            return json.loads(self._progress.read_text())
        except (OSError, ValueError):
            return {}

    def finish(self, run_id: str, profile: str, seed: int, provenance: Dict[str, Any]) -> None:
        """Write the final result from the last recorded epoch."""
        epochs = self.epochs()
        provenance = dict(provenance, wall_s=round(wall_seconds([entry['seconds'] for entry in epochs]), 1))
        write_json(
            self._result,
            dict(
                schema=SCHEMA,
                run=run_id,
                profile=profile,
                seed=seed,
                epochs=len(epochs),
                metrics=epochs[-1]['metrics'],
                provenance=provenance,
            ),
        )
        self.clear_failure()

    def fail(self, message: str) -> None:
        """Record why this attempt failed. If the disk is full, only this object keeps the message."""
        try:
            write_json(self._failure, dict(schema=SCHEMA, message=message))
            self._unwritten = ''
        except UserError:
            self._unwritten = message

    def last_log_lines(self, count: int) -> List[str]:
        """The last lines of the training process's log."""
        try:
            with open(self.log, 'rb') as file:
                file.seek(max(file.seek(0, os.SEEK_END) - 10_000, 0))
                lines = file.read().decode(errors='replace').splitlines()
        except OSError:
            return []
        return [line.rstrip() for line in lines if line.strip()][-count:]

    def clear_failure(self) -> None:
        """Forget an earlier failure."""
        remove(self._failure)
        self._unwritten = ''

    def open_log(self, rank: int) -> IO:
        """Open the log file of a training process.

        Raises:
            UserError: the folder cannot be written.
        """
        return open_to_append(self.log_of(rank))


def wall_seconds(epochs: Sequence[float]) -> float:
    """The time of a training from the seconds of its epochs: their median times their number.

    So an epoch during which the machine slept does not count.
    """
    return median(epochs) * len(epochs) if epochs else 0.0


def write_image_groups(path: Path, record: Dict[str, Any]) -> None:
    """Write a record of :attr:`o2f.evaluation.leave_out.LeftOut.record`. It has thousands of numbers, so it has no
    line breaks.

    Raises:
        UserError: the file cannot be written.
    """
    write_whole(path, json.dumps(dict(schema=SCHEMA, **record), separators=(',', ':'), allow_nan=False) + '\n')


def write_breakdown(path: Path, values: Dict[str, Dict[str, Dict[str, float]]]) -> None:
    """Write what :attr:`o2f.TwoReadingsMetric.breakdown` gives of an evaluation."""
    parts = {
        part: {reading: {name: _plain(value) for name, value in of.items()} for reading, of in readings.items()}
        for part, readings in values.items()
    }
    write_json(path, dict(schema=SCHEMA, **parts))


def _short(value: float) -> float:
    return float(f'{value:.6g}')


def _plain(value: float) -> Optional[float]:
    """A metric as JSON has it: NaN, which stands for an undefined metric, becomes null."""
    return float(value) if math.isfinite(value) else None


def _text_of(path: Path) -> str:
    """The text of a file; empty if it cannot be read."""
    try:
        return path.read_text(encoding='utf-8')
    except (OSError, ValueError):
        return ''
