"""The password of a server comes from a file, and is told to nobody but the server."""

from pathlib import Path

import pytest
import redis

from contextvqa.errors import UsageError
from contextvqa.options import as_flags
from contextvqa.passwords import read_password
from contextvqa.redis_url import address, with_password, without_passwords
from contextvqa.settings import Store


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("redis://queue:6379/3", None),
        ("rediss://worker@queue:6379/3", "worker"),
        ("unix:///run/redis.sock?db=3", None),
    ],
)
def test_a_server_gets_the_very_password_whatever_its_characters(
    url: str, user: str | None
) -> None:
    password = "p@ss:w/o?rd#%20 é'\""

    options = redis.Redis.from_url(with_password(url, password)).connection_pool.connection_kwargs

    assert options["password"] == password
    assert options.get("username") == user
    assert options["db"] == 3


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_newline_at_the_end_is_no_part_of_it(tmp_path: Path, end: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(b" spaces count " + end.encode())

    assert read_password(path, "--file") == " spaces count "


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"a\nb\n", "more than one"), (b"\xff", "no text")],
)
def test_a_file_that_is_no_password_is_refused_without_a_word_of_it(
    tmp_path: Path, content: bytes, found: str
) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=found) as refusal:
        read_password(path, "--file")

    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"password: No such file or directory\.$"):
        read_password(tmp_path / "password", "--file")


def test_two_passwords_are_refused_and_neither_is_shown() -> None:
    with pytest.raises(UsageError) as refusal:
        with_password("redis://:first@queue:6379", "second")

    assert "redis://queue:6379" in str(refusal.value)
    assert "first" not in str(refusal.value)
    assert "second" not in str(refusal.value)


def test_the_command_line_for_another_process_names_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("open sesame\n")
    store = Store(redis_url="redis://queue:6379/0", redis_password_file=path)

    assert store.server_url == "redis://:open%20sesame@queue:6379/0"
    assert "sesame" not in " ".join([*as_flags(store), repr(store)])
    assert str(path) in as_flags(store)


def test_a_password_among_the_parameters_is_one_of_two() -> None:
    with pytest.raises(UsageError, match="besides"):
        with_password("unix:///run/redis.sock?db=1&password=first", "second")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@queue:6379/3", "redis://queue:6379/3"),
        ("redis://queue:6379/0?client_name=a@b", "redis://queue:6379/0"),
        ("unix://me:pw@/run/redis.sock?password=pw", "unix:///run/redis.sock"),
    ],
)
def test_an_address_has_no_password_and_stays_the_address(url: str, shown: str) -> None:
    assert address(url) == shown


def test_a_command_that_is_shown_has_no_password() -> None:
    command = "contextvqa run in.json --redis-url='redis://:p%40w@queue:6379/0?x=1' --run r"

    shown = without_passwords(command)

    assert shown == "contextvqa run in.json --redis-url='redis://queue:6379/0' --run r"
