"""What every launcher can do, so that nobody asks which one it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Protocol

from experiments.spec.config import Run
from experiments.store.runs import RunFolder, Status

#: Told the state of every run, by its id, a few times a second.
Show = Callable[[Dict[str, Status]], None]


@dataclass(frozen=True)
class Capacity:
    """What a launcher gives to runs.

    Attributes:
        runs (int): runs at once.
        processes (int): processes that train a run together.
        threads (int): CPU threads of each process.
        on_gpu (bool): each process has a GPU.
    """

    runs: int
    processes: int
    threads: int
    on_gpu: bool


class Launcher(Protocol):
    """Places runs, on this machine or on a cluster."""

    @property
    def capacity(self) -> Capacity:
        """What the runs will have; a cluster is not asked for it."""

    def start(self) -> None:
        """Begin what takes a while, and see that runs can be placed; called before any data are made.

        Raises:
            UserError: they cannot be.
        """

    def run(
        self, runs: List[Run], folders: Dict[str, RunFolder], data: Path, show: Show
    ) -> Optional[Dict[str, Status]]:
        """Have all runs trained. A failed run does not stop the others.

        A run that another launcher is training is left to it and waited for.

        Args:
            runs (list[Run]): distinct runs, in the order to start them.
            folders (dict): folder of each run by its id.
            data (Path): the data folder.
            show (callable): told the state of every run.

        Returns:
            dict[str, Status]: final states by run id; None where the runs go on without this process.
        """

    def preview(self, count: int) -> str:
        """What ``run.py --dry-run`` shows of how so many runs would be placed; empty where there is nothing to see."""
