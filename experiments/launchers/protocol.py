"""The interface of all launchers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Protocol

from experiments.spec.config import Run
from experiments.store.runs import RunFolder, Status

#: Called with the status of every run, by its id, a few times a second.
Show = Callable[[Dict[str, Status]], None]


@dataclass(frozen=True)
class Capacity:
    """The resources that a launcher gives to runs.

    Attributes:
        runs (int): runs at once.
        processes (int): processes that train a run together.
        threads (int): CPU threads of each process.
        on_gpu (bool): each process has a GPU.
        note (str): what a user should know about these numbers; may be empty.
    """

    runs: int
    processes: int
    threads: int
    on_gpu: bool
    note: str = ''


class Launcher(Protocol):
    """Places runs, on this machine or on a cluster."""

    @property
    def capacity(self) -> Capacity:
        """The resources of the runs. A cluster is not asked for it."""

    def start(self) -> None:
        """Start what takes a while, and check that runs can be placed. Called before any data are made.

        Raises:
            UserError: runs cannot be placed.
        """

    def run(
        self, runs: List[Run], folders: Dict[str, RunFolder], data: Path, show: Show
    ) -> Optional[Dict[str, Status]]:
        """Train all runs. A failed run does not stop the others.

        A run that another launcher is training is left to it, and this launcher waits for it.

        Args:
            runs (list[Run]): distinct runs, in the order to start them.
            folders (dict): folder of each run by its id.
            data (Path): the data folder.
            show (callable): called with the status of every run.

        Returns:
            dict[str, Status]: final status by run id; None if the runs go on without this process.
        """

    def preview(self, count: int) -> str:
        """What ``run.py --dry-run`` prints about the placement of ``count`` runs. May be empty."""
