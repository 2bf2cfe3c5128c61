"""
A set of keys in little more than their own 16 bytes each, where a Python set takes 100.

New keys gather in a small set, which becomes a sorted segment when it is full. Segments of like
size are merged, so that there are few of them however many keys there are.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain
from struct import Struct

#: Bytes of a key. It is a digest: what follows relies on their being spread evenly.
KEY_BYTES = 16
#: A segment finds keys by their first two bytes, then by bisection.
NUM_BUCKETS = 1 << 16
#: New keys that make a segment.
SEGMENT_KEYS = 1 << 17
#: Keys that a merge has in hand at once, as objects of their own.
MERGE_KEYS = 1 << 14

_KEY = Struct(f"{KEY_BYTES}s")


def split_keys(data: bytes | bytearray | memoryview) -> Iterator[bytes]:
    """Return the keys that stand in these bytes one after the other."""
    return (key for (key,) in _KEY.iter_unpack(data))


class Segment:
    """Keys that do not change any more, all different, in order, one after the other in *data*."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data
        self._places = _places_of(data)

    def __len__(self) -> int:
        return len(self.data) // KEY_BYTES

    def __contains__(self, key: bytes) -> bool:
        data, bucket = self.data, int.from_bytes(key[:2])
        low, high = self._places[bucket], self._places[bucket + 1]
        while low < high:
            middle = (low + high) // 2
            at = middle * KEY_BYTES
            found = data[at : at + KEY_BYTES]
            if found == key:
                return True
            if found < key:
                low = middle + 1
            else:
                high = middle
        return False

    def keys(self, begin: int = 0, end: int = NUM_BUCKETS) -> Iterator[bytes]:
        """Return the keys of the buckets from *begin* to before *end*, in order."""
        places = self._places
        part = slice(places[begin] * KEY_BYTES, places[min(end, NUM_BUCKETS)] * KEY_BYTES)
        return split_keys(memoryview(self.data)[part])


class KeySet:
    """
    A growing set of keys.

    Args:
        segments: What `segments` of another set returned.

    """

    def __init__(self, segments: Iterable[Segment] = ()) -> None:
        #: Each more than twice as large as the next.
        self._segments = list(segments)
        self._recent: set[bytes] = set()
        self._len = sum(map(len, self._segments))

    def __len__(self) -> int:
        return self._len

    def __contains__(self, key: bytes) -> bool:
        if key in self._recent:
            return True
        for segment in self._segments:  # noqa: SIM110 - `any` costs more, in the hottest loop
            if key in segment:
                return True
        return False

    def __iter__(self) -> Iterator[bytes]:
        return chain(*(segment.keys() for segment in self._segments), self._recent)

    def add(self, key: bytes) -> None:
        """Add a key that is not there yet."""
        self._recent.add(key)
        self._len += 1
        if len(self._recent) >= SEGMENT_KEYS:
            self._seal()

    def segments(self) -> list[Segment]:
        """Return all keys as segments, the largest first."""
        if self._recent:
            self._seal()
        return self._segments

    def _seal(self) -> None:
        """Turn the new keys into a segment, and merge segments until all differ in size."""
        self._segments.append(Segment(b"".join(sorted(self._recent))))
        self._recent = set()
        while len(self._segments) > 1 and len(self._segments[-2]) <= 2 * len(self._segments[-1]):
            self._segments.append(_merge(self._segments.pop(), self._segments.pop()))


def _merge(left: Segment, right: Segment) -> Segment:
    """Return the keys of two segments that share none, as one."""
    # Of its final size from the start: what grows is copied, and held twice meanwhile.
    merged = bytearray(len(left.data) + len(right.data))
    step = max(1, NUM_BUCKETS * MERGE_KEYS // (len(left) + len(right)))
    at = 0
    for begin in range(0, NUM_BUCKETS, step):
        end = begin + step
        part = b"".join(sorted(chain(left.keys(begin, end), right.keys(begin, end))))
        merged[at : at + len(part)] = part
        at += len(part)
    return Segment(merged)


def _places_of(data: bytes | bytearray) -> "array[int]":
    """Return the place of the first key of each bucket, and behind the last the number of keys."""
    # Of sorted keys the first bytes are sorted, and the second bytes of those that share the first.
    first, second = data[::KEY_BYTES], data[1::KEY_BYTES]
    places = array("Q", [0])
    end = 0
    for byte in range(256):
        begin, end = end, bisect_right(first, byte, end)
        if begin == end:
            places.extend(array("Q", [end]) * 256)
        else:
            places.extend(bisect_right(second, other, begin, end) for other in range(256))
    return places
