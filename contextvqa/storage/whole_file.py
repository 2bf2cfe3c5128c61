"""Files that are written in one step: a reader sees none, the old one or the new one, whole."""

import contextlib
import os
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, data: bytes, *, is_new: bool) -> None:
    """
    Write a file durably.

    Args:
        is_new: Leave one that another process has written meanwhile; else replace it.

    Raises:
        OSError: It cannot be written; what was there stays.

    """
    # No process id: that of another host or container may be the same.
    partial = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(partial)
        else:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
