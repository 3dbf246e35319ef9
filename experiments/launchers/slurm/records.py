"""Which run was submitted as which job, kept beside the runs for every node that sees the folder.

=====================  ==============================================================
<array id>.json        one submission: its name in Slurm, and the job of each run
<name>.submitting      a submission that has begun; it is renamed when it is whole
lock                   held while runs are submitted
logs                   submitit's own files, and the output of jobs until they train
=====================  ==============================================================
"""

import fcntl
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from experiments.errors import UserError
from experiments.files import make_folder, read_json, write_json

SCHEMA = 1


@dataclass(frozen=True)
class Submission:
    """One job array.

    Attributes:
        name (str): the array's name in Slurm, which no other submission has.
        array (str): its id.
        at (str): when it was submitted, in ISO format, UTC.
        jobs (dict): id of the job by run, such as 12_3; of the only run of a submission, 12.
    """

    name: str
    array: str
    at: str
    jobs: Dict[str, str]


class Records:
    """Reads and writes the folder of submissions.

    Args:
        folder (Path): the folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / 'logs'

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Wait until nobody else submits runs of this folder, and keep others from it.

        Raises:
            UserError: the folder cannot be written.
        """
        make_folder(self.folder)
        try:
            file = open(self.folder / 'lock', 'a')
        except OSError as error:
            raise UserError(f'cannot write {self.folder / "lock"}: {error.strerror}') from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def begin(self, name: str) -> None:
        """Note that a submission of this name is about to reach Slurm."""
        make_folder(self.logs)
        write_json(self.folder / f'{name}.submitting', dict(schema=SCHEMA, name=name))

    def finish(self, submission: Submission) -> None:
        """Note what Slurm has taken."""
        write_json(self.folder / f'{submission.array}.json', dict(schema=SCHEMA, **asdict(submission)))
        self.forget(submission.name)

    def forget(self, name: str) -> None:
        """Forget a submission that had only begun."""
        (self.folder / f'{name}.submitting').unlink(missing_ok=True)

    def begun(self) -> List[str]:
        """Names of submissions whose launcher died before it knew their jobs, for the holder of the lock."""
        return sorted(path.stem for path in self.folder.glob('*.submitting'))

    def newest(self) -> Dict[str, Tuple[Submission, str]]:
        """The last submission of each run, and its job in that.

        Raises:
            UserError: a record is damaged.
        """
        submissions = sorted((self._read(path) for path in self.folder.glob('*.json')), key=lambda entry: entry.at)
        return {run_id: (entry, job) for entry in submissions for run_id, job in entry.jobs.items()}

    def _read(self, path: Path) -> Submission:
        content = read_json(path)
        try:
            if content.pop('schema') == SCHEMA:
                return Submission(**content)
        except (AttributeError, KeyError, TypeError):
            pass
        raise UserError(f'{path} is not the record of a submission: delete it, and cancel its jobs with scancel')
