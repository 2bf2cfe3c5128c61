"""A number in memory that parent and child share."""

import mmap
import struct


class Tally:
    """A number that a child counts up and its parent reads, also after the child was killed."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    @property
    def value(self) -> int:
        """The number now."""
        number: int = struct.unpack("q", self._memory[:8])[0]
        return number

    @value.setter
    def value(self, number: int) -> None:
        self._memory[:8] = struct.pack("q", number)
