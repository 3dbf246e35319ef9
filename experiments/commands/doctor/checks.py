"""The result of a check of the doctor, as one aligned line."""

from dataclasses import dataclass
from typing import Callable, Iterable, List

#: States of a check. Only ``FAILS`` means that a run would fail.
OK, NOTE, WARNING, FAILS = 'ok', 'note', 'warning', 'FAILS'


@dataclass(frozen=True)
class Check:
    """One line: a state, the subject, and the finding or what to do."""

    state: str
    what: str
    says: str

    def line(self) -> str:
        """The printed line."""
        return f'{self.state:8} {self.what:26} {self.says}'


def tell(findings: Iterable[Check], say: Callable[[str], None] = print) -> List[Check]:
    """Print checks as they come, and return them all."""
    told = []
    for finding in findings:
        say(finding.line())
        told.append(finding)
    return told
