"""Passwords from files, as secrets are mounted into containers: in no environment, and not in `ps`."""

from pathlib import Path

from contextvqa.errors import UsageError


def read_password(path: Path, flag: str) -> str:
    """
    Return the one line of a file, without the newline at its end.

    Args:
        flag: What named the file, for messages.

    Raises:
        UsageError: The file cannot be read, is empty, or is more than one line of text.

    """
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{flag} {path} is no text.") from error
    if len(password.splitlines()) != 1:
        found = "empty" if not password else "more than one line"
        raise UsageError(f"{flag} {path} is {found}; expected the password and nothing else.")
    return password
