"""
A run is a directory: what was asked (run.json), what came of it (results, rejects).

    runs/<name>/
      run.json         the fingerprint: model, sampling, gates, versions; and the inputs
      prompts/         what the model was asked, a file per digest
      results.jsonl    one line per accepted record
      rejects.jsonl    one line per record that ended otherwise
      redis/           the embedded server's data, for `contextvqa run`
      .*.index         what the next process need not read of these two files; may be removed,
      .*.funnel        as may this, of what `status` counts in them
      .lock            held by whoever starts and stops that server, or reparses into the run
      logs/            what its worker and refiner said
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from contextvqa.errors import RejectError, UsageError
from contextvqa.gates import Quality
from contextvqa.run_config import DEFAULT_QUALITY, RUN_NAME, RunConfig, check_run_name
from contextvqa.settings import Sampling
from contextvqa.storage.prompts import Prompts
from contextvqa.storage.whole_file import write_whole


def runs_in(runs_dir: Path) -> list[str]:
    """Return the names of the runs that were begun in a directory, sorted."""
    names = sorted(path.parent.name for path in runs_dir.glob("*/run.json"))
    return [name for name in names if RUN_NAME.fullmatch(name)]


class RunDirectory:
    """The paths of one run, and its run.json."""

    def __init__(self, runs_dir: Path, run: str) -> None:
        self.run = check_run_name(run)
        self.path = runs_dir / run
        self.config_path = self.path / "run.json"
        self.results_path = self.path / "results.jsonl"
        self.rejects_path = self.path / "rejects.jsonl"
        self.redis_path = self.path / "redis"
        self.logs_path = self.path / "logs"
        self.prompts = Prompts(self.path / "prompts")
        self._lock_path = self.path / ".lock"

    def exists(self) -> bool:
        """Whether the run was ever begun."""
        return self.config_path.exists()

    def check_exists(self) -> None:
        """Raise UsageError where the run was never begun."""
        if not self.exists():
            raise UsageError(
                f"there is no run {self.run!r} in {self.path.parent}; "
                "`contextvqa status` without a name lists what is there."
            )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """
        Keep others from starting and stopping the run's embedded server, and from reparsing into it.

        Raises:
            UsageError: Somebody does already, or the directory cannot be written.

        """
        try:
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(f"cannot write {self._lock_path}: {error.strerror}.") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"another `contextvqa run`, `retry` or `reparse` is at work on {self.path}; wait for it, "
                    "or stop it."
                ) from error
            except OSError as error:
                raise UsageError(
                    f"cannot lock {self._lock_path}: {error.strerror}; put --runs-dir on a file "
                    "system that has locks."
                ) from error
            yield
        finally:
            os.close(descriptor)

    def create(self) -> None:
        """
        Make the directory.

        Raises:
            UsageError: The operating system refuses.

        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot make the run directory {self.path}: {error.strerror}; "
                "name another with --runs-dir."
            ) from error

    def read_config(self) -> RunConfig | None:
        """
        Return what the run was begun with, None for a new one.

        Raises:
            UsageError: run.json is damaged or of another version.

        """
        try:
            data = self.config_path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"cannot read {self.config_path}: {error.strerror}.") from error
        try:
            return RunConfig.decode(data)
        except (ValueError, RejectError) as error:
            raise UsageError(
                f"{self.config_path} is not the run.json of this version ({error}); "
                "restore it, or choose another --run name."
            ) from error

    def check(
        self, model: str, sampling: Sampling, quality: Quality = DEFAULT_QUALITY
    ) -> RunConfig | None:
        """
        Return what the run was begun with, if it was, after a look that it is what is asked for.

        Raises:
            UsageError: It was begun with another model, sampling or gates: its records would
                not be comparable. Names what differs.

        """
        known = self.read_config()
        asked = RunConfig.new(self.run, model, sampling, quality)
        differences = known.differences(asked) if known else ""
        if differences:
            raise UsageError(
                f"run {self.run!r} was begun with {differences}; "
                f"ask for the same, choose another --run name, or remove {self.path} to begin anew."
            )
        return known

    def begin(
        self, model: str, sampling: Sampling, source: str, quality: Quality = DEFAULT_QUALITY
    ) -> RunConfig:
        """
        Return the run's configuration, written down first where the run or the input is new.

        Of several processes that begin a run at once, one does.

        Args:
            source: The input, as the user named it.

        Raises:
            UsageError: As `check` and `read_config`, or the directory cannot be written.

        """
        self.create()
        if not self.exists():
            self._write_config(RunConfig.new(self.run, model, sampling, quality), is_new=True)
        config = self.check(model, sampling, quality)
        assert config is not None  # noqa: S101 - just written
        if source not in config.inputs:
            config = replace(config, inputs=(*config.inputs, source))
            self._write_config(config, is_new=False)
        return config

    def begin_reparsed(self, origin: RunConfig, quality: Quality) -> RunConfig:
        """
        Return the configuration of a run that judges another one's texts anew, written down first
        where it is new.

        Raises:
            UsageError: There is a run of this name that did not begin so, and with this version of
                the parser; or as `begin`.

        """
        asked = origin.reparsed(self.run, quality)
        if not self.exists():
            self.create()
            self._write_config(asked, is_new=True)
        known = self.read_config()
        assert known is not None  # noqa: S101 - just written
        if known.reparsed_from != asked.reparsed_from:
            found = f"is there already, and not made of {origin.run!r} as it is now"
        elif differences := known.differences(asked):
            found = f"was begun with {differences}"
        elif known.version != asked.version:
            found = f"was begun by version {known.version}, not {asked.version}"
        else:
            return known
        raise UsageError(
            f"run {self.run!r} {found}; choose another name, or remove {self.path} to begin anew."
        )

    def _write_config(self, config: RunConfig, *, is_new: bool) -> None:
        try:
            write_whole(self.config_path, config.encode(), is_new=is_new)
        except OSError as error:
            raise UsageError(f"cannot write {self.config_path}: {error.strerror}.") from error
