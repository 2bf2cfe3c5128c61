"""Redis URLs: where a server is, and the password that neither messages nor `ps` may show."""

from pathlib import Path
from urllib.parse import quote

from contextvqa.errors import UsageError

DEFAULT_REDIS_URL = "redis://localhost:6379/0"


def address(url: str) -> str:
    """Return a Redis URL without its user, password and parameters, which may hold them too."""
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.rpartition("@")[2].partition("?")[0]


def with_password(url: str, password: str) -> str:
    """
    Return a URL with this password. A user stays.

    Raises:
        UsageError: The URL has a password.

    """
    scheme, separator, rest = url.partition("://")
    user, _, place = rest.rpartition("@")
    if ":" in user:
        raise UsageError(
            f"--redis-url {address(url)} has a password besides --redis-password-file."
        )
    return f"{scheme}{separator}{user}:{quote(password, safe='')}@{place}"


def read_password(path: Path) -> str:
    """
    Return the one line of a file, without the newline at its end.

    Raises:
        UsageError: The file cannot be read, is empty, or is more than one line of text.

    """
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise UsageError(f"--redis-password-file {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--redis-password-file {path} is no text.") from error
    if len(password.splitlines()) != 1:
        found = "empty" if not password else "more than one line"
        raise UsageError(
            f"--redis-password-file {path} is {found}; expected the password and nothing else."
        )
    return password
