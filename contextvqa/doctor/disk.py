"""Room on the disk of a directory."""

import os
from pathlib import Path

from contextvqa.findings import Finding, failure, ok, warning

GB = 1_000_000_000
#: Free bytes below which nothing that is begun will last, and below which it is worth a word:
#: 10,000 and 200,000 records of some 4 KB.
LEAST_BYTES = 50_000_000
LOW_BYTES = 1 * GB


def nearest(path: Path) -> Path:
    """Return the directory itself, or the nearest one above it that is there."""
    path = path.absolute()
    return next(directory for directory in (path, *path.parents) if directory.exists())


def room(check: str, directory: Path, *, low_bytes: int = LOW_BYTES) -> Finding:
    """Return how much more a directory that is there can hold."""
    status = os.statvfs(directory)
    num_free = status.f_bavail * status.f_frsize
    found = f"{num_free / GB:,.2f} GB free at {directory}"
    expected = f"{low_bytes / GB:,.0f} GB or more"
    remedy = "make room there"
    if num_free < LEAST_BYTES:
        return failure(check, found, expected, remedy)
    if status.f_files and not status.f_favail:
        return failure(check, f"no inode free at {directory}", "some", "remove files there")
    if num_free < low_bytes:
        return warning(check, found, expected, remedy)
    return ok(check, found)
