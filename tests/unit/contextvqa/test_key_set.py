"""The set of keys is a set, and small."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextvqa.storage.key_set import KEY_BYTES, KeySet

#: Digests, and keys that lie in one bucket.
KEYS = st.one_of(
    st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES),
    st.integers(0, 300).map(lambda number: number.to_bytes(KEY_BYTES)),
)


@pytest.fixture(autouse=True, scope="module")
def small_segments() -> Iterator[None]:
    """Let a few keys make segments, and a few more merge them piece by piece."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("contextvqa.storage.key_set.SEGMENT_KEYS", 4)
        patch.setattr("contextvqa.storage.key_set.MERGE_KEYS", 2)
        patch.setattr("contextvqa.storage.key_set.BUCKET_KEYS", 1)
        patch.setattr("contextvqa.storage.key_set.MIN_BITS", 1)
        patch.setattr("contextvqa.storage.key_set.SELECT_KEYS", 3)
        yield


@given(added=st.sets(KEYS, max_size=200), others=st.sets(KEYS, max_size=20))
def test_it_holds_what_was_added_and_nothing_else(added: set[bytes], others: set[bytes]) -> None:
    keys = KeySet()

    for key in sorted(added)[::2]:
        keys.update((key,))
    keys.update(sorted(added)[1::2])

    assert len(keys) == len(added)
    assert sorted(keys) == sorted(added)
    assert {key for key in added | others if key in keys} == added
    assert keys.select(added | others) == added


@given(before=st.sets(KEYS, max_size=60), after=st.sets(KEYS, max_size=60))
def test_a_set_of_another_ones_segments_goes_on_where_that_ended(
    before: set[bytes], after: set[bytes]
) -> None:
    first = KeySet()
    for key in before:
        first.update((key,))

    second = KeySet(first.segments())
    for key in after - before:
        second.update((key,))

    assert sorted(second) == sorted(before | after)
    assert all(key in second for key in before | after)


@given(ours=st.sets(KEYS, max_size=40), theirs=st.sets(KEYS, max_size=40))
def test_it_counts_what_another_set_lacks_as_python_does(
    ours: set[bytes], theirs: set[bytes]
) -> None:
    one, other = KeySet(), KeySet()
    one.update(ours)
    other.update(theirs)

    assert one.count_outside(other) == len(ours - theirs)


@given(key=KEYS)
def test_a_part_of_a_key_is_not_in_it(key: bytes) -> None:
    keys = KeySet()
    keys.update((key,))
    keys.segments()

    assert key in keys
    assert not any(key[:size] in keys for size in range(KEY_BYTES))


def test_there_are_few_segments_of_many_keys_and_each_is_in_order() -> None:
    keys = KeySet()
    # Spread as digests are
    spread = [number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128 for number in range(6000)]
    names = [number.to_bytes(KEY_BYTES) for number in spread]
    for name in names[:3000]:
        keys.update((name,))

    segments = keys.segments()

    assert len(segments) <= 10
    assert sum(map(len, segments)) == 3000
    assert all(list(segment.keys()) == sorted(segment.keys()) for segment in segments)
    assert keys.select(names) == set(names[:3000])
