"""The prompts of a run, each in a file that is named by its digest: what the model was asked."""

from pathlib import Path

from contextvqa.errors import UsageError
from contextvqa.records import prompt_digest
from contextvqa.storage.whole_file import write_whole


class Prompts:
    """The directory `prompts` of a run. Any number of processes may keep the same prompt at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: set[str] = set()

    def keep(self, prompt: str) -> None:
        """
        Write a prompt down, if it is not.

        Raises:
            UsageError: The operating system refuses.

        """
        digest = prompt_digest(prompt)
        if digest in self._kept:
            return
        path = self._path(digest)
        try:
            if not path.exists():
                self._directory.mkdir(parents=True, exist_ok=True)
                write_whole(path, prompt.encode("utf-8", "surrogatepass"), is_new=True)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}.") from error
        self._kept.add(digest)

    def read(self, digest: str) -> str | None:
        """Return the prompt of this digest; None where it is not kept, or was edited since."""
        try:
            prompt = self._path(digest).read_bytes().decode("utf-8", "surrogatepass")
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return prompt if prompt_digest(prompt) == digest else None

    def copy_to(self, other: "Prompts") -> None:
        """Have another run keep the same prompts."""
        for path in sorted(self._directory.glob("*.txt")):
            prompt = self.read(path.stem)
            if prompt is not None:
                other.keep(prompt)

    def _path(self, digest: str) -> Path:
        return self._directory / f"{digest}.txt"
