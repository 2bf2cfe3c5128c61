"""The circuit breaker: sees that a run fails as a whole, and not record by record."""

from collections import deque


class Breaker:
    """
    Watches the last executions of every run.

    A lost mount fails one record after another with one kind of error. Whatever the cause, going
    on would turn a whole input into rejects.

    Args:
        window: How many executions of a run are looked at.
        share: Share of the window, of one kind of error, above which the run must be paused.

    """

    def __init__(self, window: int, share: float) -> None:
        self.window = window
        self.limit = window * share
        self._kinds: dict[str, deque[str | None]] = {}

    def note(self, run: str, kind: str | None) -> bool:
        """
        Note how an execution ended: the kind of its error, or None for a success.

        Returns:
            Whether the run must be paused. It is then looked at afresh.

        """
        kinds = self._kinds.setdefault(run, deque(maxlen=self.window))
        kinds.append(kind)
        if kind is None or kinds.count(kind) <= self.limit:
            return False
        self.forget(run)
        return True

    def forget(self, run: str) -> None:
        """Look at a run afresh."""
        self._kinds.pop(run, None)
