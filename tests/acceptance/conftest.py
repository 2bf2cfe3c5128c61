"""What acceptance tests find where `tests.across_hosts` runs them."""

from collections.abc import Iterator

import pytest

from contextvqa.queueing.connection import connect
from tests.second_host import SERVER_URL

if SERVER_URL is not None:

    @pytest.fixture
    def redis_url() -> str:
        """The server of both hosts, empty."""
        return SERVER_URL

    @pytest.fixture(autouse=True)
    def _emptied() -> Iterator[None]:
        """Leave nothing on it: other tests' runs have the same names."""
        yield
        connect(SERVER_URL).flushall()
