"""`contextvqa acl`: the users of a Redis server of your own."""

import hashlib
from pathlib import Path

import click

from contextvqa.passwords import read_password
from contextvqa.queueing.roles import Role, users_acl

#: The user of whoever has not logged in: nobody. Its rights are those with which Redis 7.0 reads its
#: own append-only file back: without any it drops each transaction in it, and so the queue.
DEFAULT_USER = "off ~* &* +@all"


@click.command()
@click.argument(
    "passwords", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="PASSWORDS"
)
def command(*, passwords: Path) -> None:
    """
    Print the users of a Redis server, one per role, as its aclfile takes them.

    PASSWORDS is a directory that holds a file for each: redis_producer, redis_worker, redis_refiner,
    redis_watcher and redis_dashboard. Their digests are printed, and the default user is off.
    """

    def digest(role: Role) -> str:
        password = read_password(passwords / f"redis_{role}", "the password file")
        return "#" + hashlib.sha256(password.encode()).hexdigest()

    click.echo(users_acl(DEFAULT_USER, digest), nl=False)
