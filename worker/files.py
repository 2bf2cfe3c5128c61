"""
Open the file of an image, whatever the reference leads to.

A path may name a pipe or a device, which must not hang the worker, or lie on a file system that is
away for the moment, which must not cost the image.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from contextvqa.errors import ImageError, Reason, RecordError, TransientError

#: WebP and AVIF files are read whole to find their size in pixels, so memory needs this bound too.
MAX_FILE_BYTES = 1 << 30

#: The reference leads nowhere.
NOT_FOUND_ERRNOS = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
#: What open says of a socket or of a device without a driver.
NOT_A_FILE_ERRNOS = {errno.ENXIO, errno.ENODEV}
#: The file may be fine: the network, the disk or this process was not, at this moment.
TRANSIENT_ERRNOS = {
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EBUSY, errno.EINTR),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOLINK, errno.EPROTO, errno.ENOTCONN),
    *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    *(errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET),
}


def place_of(reference: str, root: Path, *, is_confined: bool) -> Path:
    """
    Return the path that a reference names; one without links where it must not leave the root.

    Raises:
        ImageError: It leaves the root, whether there is anything or not: who may not read a file
            need not learn that it exists.

    """
    path = root / reference
    if not is_confined:
        return path
    try:
        place = path.resolve()
    except (OSError, ValueError, RuntimeError):
        return path  # no file can have this name, and opening it says why
    if not place.is_relative_to(root.resolve()):
        message = f"leads out of --image-root {str(root)!r}, which --confine-images forbids."
        raise ImageError(Reason.IMAGE_OUTSIDE, message)
    return place


def open_file(path: Path) -> BinaryIO:
    """
    Open a regular file for reading; the caller closes it.

    Raises:
        ImageError: There is none, it may not be read, or it is larger than `MAX_FILE_BYTES`.

        TransientError: The file system failed in a way that may pass.

    """
    # Without O_NONBLOCK, opening a pipe waits for its writer, maybe for ever.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise explain_open(error, path) from error
    try:
        refuse_file(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def explain_open(error: OSError | ValueError, path: Path) -> RecordError:
    """Return what a failed open means: see the sets of errno above."""
    # ValueError is a NUL byte, or a character that no file name can have.
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    text = getattr(error, "strerror", None) or str(error)
    if number in TRANSIENT_ERRNOS:
        return TransientError(f"cannot be opened now: {text}.")
    if number in NOT_A_FILE_ERRNOS:
        return ImageError(Reason.IMAGE_NOT_A_FILE, f"is no regular file: {text}.")
    if number in NOT_FOUND_ERRNOS:
        place = f"{str(path.absolute())!r} ({text})"
        message = f"is not at {place}. Relative references start from --image-root."
        return ImageError(Reason.IMAGE_NOT_FOUND, message)
    return ImageError(Reason.IMAGE_UNREADABLE, f"cannot be opened: {text}.")


def refuse_file(status: os.stat_result) -> None:
    """Raise ImageError unless it is the status of a regular file of reasonable size."""
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a device, a pipe or a socket"
        raise ImageError(Reason.IMAGE_NOT_A_FILE, f"is {kind}, not a file.")
    if status.st_size > MAX_FILE_BYTES:
        message = f"is a file of {status.st_size:,} bytes; {MAX_FILE_BYTES:,} is the most."
        raise ImageError(Reason.IMAGE_TOO_LARGE, message)
