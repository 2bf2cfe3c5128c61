"""Redis URLs: where a server is, and the password that neither messages nor `ps` may show."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, quote

from contextvqa.errors import UsageError

DEFAULT_REDIS_URL = "redis://localhost:6379/0"

_URL = re.compile(r"\b(?:rediss?|unix)://[^\s'\"]+")
_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_PARAMETER = re.compile(r"(?:^|&)password=")


def address(url: str) -> str:
    """Return a Redis URL without its user, password and parameters, which may hold them too."""
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.partition("?")[0].rpartition("@")[2]


def without_passwords(text: str) -> str:
    """Return a text with the users, passwords and parameters of its Redis URLs left out."""
    return _URL.sub(lambda found: address(found[0]), text)


def check_files(url: str) -> None:
    """
    Look for the files that a URL names for TLS: redis-py would only say that one is not there.

    Raises:
        UsageError: One is not there.

    """
    for name, value in parse_qsl(url.partition("?")[2]):
        if name in _FILES and not Path(value).is_file():
            raise UsageError(f"--redis-url {address(url)} names {name}={value}: no such file.")


def with_password(url: str, password: str) -> str:
    """
    Return a URL with this password. A user stays.

    Raises:
        UsageError: The URL has a password.

    """
    scheme, separator, rest = url.partition("://")
    place, question_mark, parameters = rest.partition("?")
    user, _, place = place.rpartition("@")
    if ":" in user or _PARAMETER.search(parameters):
        raise UsageError(
            f"--redis-url {address(url)} has a password besides --redis-password-file."
        )
    place += question_mark + parameters
    return f"{scheme}{separator}{user}:{quote(password, safe='')}@{place}"
