"""A producer that never runs out of rows, and begins again from the first when it is killed."""

import subprocess
import threading
from collections.abc import Iterator
from itertools import chain

import orjson

from contextvqa.progress import say
from tests.compose.docker import Deployment, compose_command, environment

#: Records that may be queued, so that it never runs dry, and is soon done in the end.
HIGH_WATER = 1_000
#: Rows beyond those that are done which the producer is given: more, so that it has to hold back.
NUM_AHEAD = 2_000


class Feed:
    """
    `contextvqa enqueue -` in a container, with rows as long as it is not closed.

    What it was given stands in a file, which is the run's input to whoever asks afterwards.
    """

    def __init__(self, deployment: Deployment, run: str) -> None:
        self.path = deployment.data_dir / f"{run}.jsonl"
        #: Rows that there are so far.
        self.num_rows = 0
        self._deployment = deployment
        self._run = run
        self._sample = orjson.loads((deployment.data_dir / "sample_data.json").read_bytes())
        self._num_allowed = NUM_AHEAD
        self._is_closed = False
        self._changed = threading.Condition()
        # A soak that breaks off does not wait for it.
        self._thread = threading.Thread(target=self._feed, name="feed", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self.path.touch()
        self._thread.start()

    def go_on(self, num_done: int) -> None:
        """Give the producer more rows, now that so many are done."""
        with self._changed:
            self._num_allowed = num_done + NUM_AHEAD
            self._changed.notify()

    def close(self) -> None:
        """Return when all rows that there are so far are enqueued."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _feed(self) -> None:
        while not self._enqueue():
            say("the producer ended; it is started again")

    def _enqueue(self) -> bool:
        """Enqueue all there is, and then what comes; return whether that ended well."""
        command = ("run", "--rm", "-T", "cli", "enqueue", "-", "--run", self._run)
        process = subprocess.Popen(
            [*compose_command(), *command, "--high-water", str(HIGH_WATER)],
            cwd=self._deployment.directory,
            env=environment(),
            # A row that waits in a buffer of ours is none that the producer has.
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        try:
            with process.stdin as stdin:
                for row in chain(self._rows_so_far(), self._new_rows()):
                    stdin.write(row)
        except BrokenPipeError:
            pass
        return process.wait() == 0

    def _rows_so_far(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            yield from file

    def _new_rows(self) -> Iterator[bytes]:
        with self.path.open("ab", buffering=0) as file:
            while self._is_open():
                image = self._sample[self.num_rows % len(self._sample)]["image"]
                row = orjson.dumps({"id": f"soak-{self.num_rows}", "image": image}) + b"\n"
                # Before it is handed over: what the file does not have, nobody may know.
                file.write(row)
                self.num_rows += 1
                yield row

    def _is_open(self) -> bool:
        """Wait until another row is allowed; return whether there will be any."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self.num_rows < self._num_allowed)
            return not self._is_closed
