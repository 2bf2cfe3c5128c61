"""How many pixels a record's images may have, and the sizes that follow."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextvqa.errors import Reason, RejectError
from contextvqa.settings import Images, Sampling
from worker.pixel_budget import MAX_ASPECT, PixelShare, TokenGrid, fit, share_of

#: Qwen2.5-VL-3B-Instruct as its authors ship it: images of 4 to 16,384 tokens.
QWEN = TokenGrid(side_px=28, min_image_px=3136, max_image_px=12_845_056)

sides = st.integers(1, 20_000)
grids = st.builds(
    TokenGrid,
    side_px=st.sampled_from([14, 24, 28, 32]),
    min_image_px=st.sampled_from([784, 3136, 65_536]),
    max_image_px=st.sampled_from([262_144, 1_003_520, 12_845_056]),
)


def smart_resize(width: int, height: int, grid: TokenGrid) -> tuple[int, int]:
    """Return the size that Qwen's processor makes of a size: its source, word for word."""
    factor = grid.side_px
    assert max(height, width) / min(height, width) <= MAX_ASPECT
    h_bar = round(height / factor) * factor
    w_bar = round(width / factor) * factor
    if h_bar * w_bar > grid.max_image_px:
        beta = math.sqrt((height * width) / grid.max_image_px)
        h_bar = max(factor, math.floor(height / beta / factor) * factor)
        w_bar = max(factor, math.floor(width / beta / factor) * factor)
    elif h_bar * w_bar < grid.min_image_px:
        beta = math.sqrt(grid.min_image_px / (height * width))
        h_bar = math.ceil(height * beta / factor) * factor
        w_bar = math.ceil(width * beta / factor) * factor
    return w_bar, h_bar


def test_a_phone_photo_gets_what_prompt_and_output_leave_of_the_context() -> None:
    share = share_of(num_images=1, max_record_px=10**8, tokens_left=4096 - 512 - 200, grid=QWEN)

    assert share.max_px == (3384 - 16) * 28 * 28
    assert fit((4032, 3024), share) == (1876, 1400)


@pytest.mark.parametrize(
    ("max_model_len", "num_images", "size"),
    [
        (4096, 1, (1624, 1204)),
        (4096, 2, (1148, 840)),
        (2048, 1, (1148, 840)),
        (1024, 1, (504, 364)),
    ],
)
def test_the_sizes_that_the_benchmark_measures_are_those_of_usual_contexts(
    max_model_len: int, num_images: int, size: tuple[int, int]
) -> None:
    left = max_model_len - Sampling().max_tokens - 250  # of a prompt such as the built-in one

    share = share_of(
        num_images=num_images, max_record_px=Images().max_record_px, tokens_left=left, grid=QWEN
    )

    assert fit((4032, 3024), share) == size


def test_the_images_of_a_record_share_its_tokens_and_its_pixels() -> None:
    by_tokens = share_of(num_images=4, max_record_px=10**8, tokens_left=3384, grid=QWEN)
    by_pixels = share_of(num_images=4, max_record_px=2_000_000, tokens_left=99_999, grid=QWEN)

    assert by_tokens.max_px == (3384 // 4 - 16) * 28 * 28
    assert by_pixels.max_px == 500_000


def test_more_than_the_models_own_limit_is_never_used() -> None:
    grid = TokenGrid(side_px=28, min_image_px=3136, max_image_px=12_544)

    share = share_of(num_images=1, max_record_px=2_000_000, tokens_left=3384, grid=grid)

    assert share.max_px == 12_544
    assert fit((4032, 3024), share) == (112, 84)


def test_a_model_of_another_kind_gets_the_pixels_that_a_record_may_have() -> None:
    share = share_of(num_images=2, max_record_px=2_000_000, tokens_left=500, grid=None)

    assert share == PixelShare(max_px=1_000_000, multiple_px=1, min_side_px=28)


@pytest.mark.parametrize("grid", [QWEN, None])
@pytest.mark.parametrize("tokens_left", [-7, 0, 16])
def test_a_prompt_that_leaves_no_room_for_the_image_refuses_the_record(
    grid: TokenGrid | None, tokens_left: int
) -> None:
    with pytest.raises(RejectError, match="shorten the prompt") as caught:
        share_of(num_images=1, max_record_px=2_000_000, tokens_left=tokens_left, grid=grid)

    assert caught.value.reason is Reason.REQUEST_REFUSED


def test_images_that_would_have_less_than_the_least_side_refuse_the_record() -> None:
    with pytest.raises(RejectError, match="too many for --max-record-px 1,000"):
        share_of(num_images=2, max_record_px=1000, tokens_left=3384, grid=QWEN)


def test_an_image_within_its_share_keeps_its_size() -> None:
    assert fit((640, 427), PixelShare(max_px=2_000_000, multiple_px=28)) == (640, 427)


@pytest.mark.parametrize(
    ("size", "fitted"), [((1, 1), (28, 28)), ((9, 5), (50, 28)), ((10, 2000), (28, 5600))]
)
def test_an_image_with_a_short_side_is_enlarged_and_keeps_its_aspect(
    size: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fit(size, PixelShare(max_px=2_000_000, multiple_px=28)) == fitted


def test_a_strip_that_must_shrink_keeps_the_least_side_and_loses_length_if_it_must() -> None:
    assert fit((4000, 30), PixelShare(max_px=28 * 28 * 50, multiple_px=28)) == (28 * 50, 28)
    # Not 28 x 6188, as `smart_resize` says, which it refuses itself when it sees it again.
    assert fit((42, 5362), PixelShare(max_px=300_000, multiple_px=28)) == (28, 5600)


@given(sides, sides, st.integers(1, 5_000_000))
def test_without_a_grid_a_fitted_size_fills_its_share_and_never_exceeds_it(
    width: int, height: int, max_px: int
) -> None:
    if max(width, height) > MAX_ASPECT * min(width, height):
        return  # refused by its header
    fitted = fit((width, height), PixelShare(max_px=max_px, min_side_px=1))

    assert min(fitted) >= 1
    assert fitted[0] * fitted[1] <= max_px
    assert fitted[0] <= width
    assert fitted[1] <= height
    # One pixel more on either side would no longer fit, or would be larger than the image.
    is_strip = max(fitted) == MAX_ASPECT * min(fitted)
    assert is_strip or (fitted[0] + 1) * (fitted[1] + 1) > min(max_px, width * height)


@given(
    width=sides, height=sides, grid=grids, num_images=st.integers(1, 8), tokens=st.integers(0, 9999)
)
def test_no_image_can_exceed_the_context_whatever_the_processor_makes_of_it(
    width: int, height: int, grid: TokenGrid, num_images: int, tokens: int
) -> None:
    if max(width, height) > MAX_ASPECT * min(width, height):
        return  # refused by its header
    try:
        share = share_of(
            num_images=num_images, max_record_px=2_000_000, tokens_left=tokens, grid=grid
        )
    except RejectError:
        return

    fitted = fit((width, height), share)
    made = smart_resize(*fitted, grid)

    assert min(fitted) >= 28
    assert fitted[0] * fitted[1] <= share.max_px
    assert num_images * (made[0] * made[1] // grid.side_px**2) <= tokens


@given(width=sides, height=sides, max_px=st.integers(300_000, 4_000_000))
def test_an_image_that_shrank_is_not_scaled_again(width: int, height: int, max_px: int) -> None:
    share = PixelShare(max_px=max_px, multiple_px=28)
    if max(width, height) > MAX_ASPECT * min(width, height):
        return
    fitted = fit((width, height), share)
    if fitted[0] >= width:
        return

    assert smart_resize(*fitted, QWEN) == fitted
