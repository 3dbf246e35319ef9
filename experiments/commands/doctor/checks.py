"""What a check of the doctor says: one aligned line."""

from dataclasses import dataclass
from typing import Callable, Iterable, List

#: States of a finding. Only with ``FAILS`` a run would not go through.
OK, NOTE, WARNING, FAILS = 'ok', 'note', 'warning', 'FAILS'


@dataclass(frozen=True)
class Check:
    """One line: a state, what was looked at, and what was found, or what to do."""

    state: str
    what: str
    says: str

    def line(self) -> str:
        """The line as it is printed."""
        return f'{self.state:8} {self.what:26} {self.says}'


def tell(findings: Iterable[Check], say: Callable[[str], None] = print) -> List[Check]:
    """Print findings as they are made, and return them all."""
    told = []
    for finding in findings:
        say(finding.line())
        told.append(finding)
    return told
