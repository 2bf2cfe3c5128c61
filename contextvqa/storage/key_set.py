"""
A set of keys in little more than their own 16 bytes each, where a Python set takes 100.

New keys gather in a small set, which becomes a sorted segment when it is full. Segments of like
size are merged, so that there are few of them however many keys there are.
"""

from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice
from struct import Struct, unpack

#: Bytes of a key. It is a digest: what follows relies on their being spread evenly.
KEY_BYTES = 16
#: A segment looks for a key among at most so many, on average: in the bucket that the key's first
#: bits name.
BUCKET_KEYS = 16
#: How many bits that may be.
MIN_BITS, MAX_BITS = 8, 24
#: New keys that make a segment.
SEGMENT_KEYS = 1 << 17
#: Keys that a merge has in hand at once, as objects of their own.
MERGE_KEYS = 1 << 14
#: Keys that are looked for at once when two sets are compared.
SELECT_KEYS = 512

_KEY = Struct(f"{KEY_BYTES}s")
#: Bits of what is read of a key to find its bucket, and how that is read.
_HEAD_BITS = 32
_HEAD = f"I{KEY_BYTES - _HEAD_BITS // 8}x"


def split_keys(data: bytes | bytearray | memoryview) -> Iterator[bytes]:
    """Return the keys that stand in these bytes one after the other."""
    return (key for (key,) in _KEY.iter_unpack(data))


class Segment:
    """Keys that do not change any more, all different, in order, one after the other in *data*."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data
        #: How many of a key's first bits name its bucket.
        self.bits = min(MAX_BITS, max(MIN_BITS, (len(self) // BUCKET_KEYS).bit_length()))
        self._places = _places_of(data, self.bits)

    def __len__(self) -> int:
        return len(self.data) // KEY_BYTES

    def select(self, keys: Collection[bytes]) -> list[bytes]:
        """Return those of these keys that are in it."""
        find, places = self.data.find, self._places
        shift = _HEAD_BITS - self.bits
        heads = unpack(f">{_HEAD * len(keys)}", b"".join(keys))
        found = []
        for key, head in zip(keys, heads, strict=True):
            bucket = head >> shift
            end = places[bucket + 1]
            at = find(key, places[bucket], end)
            # The end of one key and the begin of the next may look like it. -1 is not there.
            while at % KEY_BYTES and at > 0:
                at = find(key, at + 1, end)
            if at >= 0:
                found.append(key)
        return found

    def keys(self, begin: int = 0, end: int = 1, bits: int = 0) -> Iterator[bytes]:
        """Return in order the keys whose first *bits* bits are from *begin* to before *end*."""
        finer = self.bits - bits
        return split_keys(
            memoryview(self.data)[self._places[begin << finer] : self._places[end << finer]]
        )


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
        return len(key) == KEY_BYTES and bool(self.select((key,)))

    def __iter__(self) -> Iterator[bytes]:
        return chain(*(segment.keys() for segment in self._segments), self._recent)

    def select(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those of these keys that are in it; cheapest for hundreds at once."""
        found = self._recent.intersection(keys)
        for segment in self._segments:
            left = [key for key in keys if key not in found] if found else keys
            if not left:
                break
            found.update(segment.select(left))
        return found

    def count_outside(self, other: "KeySet") -> int:
        """Return how many keys are here and not in another set."""
        fewer, more = sorted((self, other), key=len)
        keys, num_shared = iter(fewer), 0
        while batch := list(islice(keys, SELECT_KEYS)):
            num_shared += len(more.select(batch))
        return len(self) - num_shared

    def update(self, keys: Collection[bytes]) -> None:
        """Add keys, all different, that are not there yet."""
        self._recent.update(keys)
        self._len += len(keys)
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
    bits = min(left.bits, right.bits)
    step = max(1, (MERGE_KEYS << bits) // (len(left) + len(right)))
    at = 0
    for begin in range(0, 1 << bits, step):
        end = min(begin + step, 1 << bits)
        part = b"".join(sorted(chain(left.keys(begin, end, bits), right.keys(begin, end, bits))))
        merged[at : at + len(part)] = part
        at += len(part)
    return Segment(merged)


def _places_of(data: bytes | bytearray, bits: int) -> "array[int]":
    """Return where in *data* the first key of each bucket begins, and behind the last its end."""
    ends = array("Q", [len(data) // KEY_BYTES])
    for number in range((bits + 7) // 8):
        # Of sorted keys these bytes are sorted wherever all bytes before them are the same.
        column = data[number::KEY_BYTES]
        width = 1 << max(0, 8 * (number + 1) - bits)
        begin, finer = 0, array("Q")
        for end in ends:
            lasts = range(width - 1, 256, width)
            finer.extend(bisect_right(column, last, begin, end) for last in lasts)
            begin = end
        ends = finer
    return array("Q", chain([0], (end * KEY_BYTES for end in ends)))
