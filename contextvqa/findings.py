"""What was found where somebody looked whether all is well, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a finding means."""

    OK = "ok"
    #: Work can go on, and somebody should look.
    WARNING = "warning"
    #: Work cannot go on, or not without loss.
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    #: The name of what was looked at.
    check: str
    verdict: Verdict
    found: str
    #: Empty where all is well, or where `found` says it.
    expected: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        expected = self.expected and f"expected {self.expected}"
        return "; ".join(filter(None, (self.found, expected, self.remedy)))


def ok(check: str, found: str) -> Finding:
    """Return that all is well."""
    return Finding(check, Verdict.OK, found)


def warning(check: str, found: str, expected: str, remedy: str) -> Finding:
    """Return what somebody should look at."""
    return Finding(check, Verdict.WARNING, found, expected, remedy)


def failure(check: str, found: str, expected: str = "", remedy: str = "") -> Finding:
    """Return what must be mended."""
    return Finding(check, Verdict.FAILURE, found, expected, remedy)
