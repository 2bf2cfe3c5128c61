"""Redis URLs: where a server is, and the password that neither messages nor `ps` may show."""

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
