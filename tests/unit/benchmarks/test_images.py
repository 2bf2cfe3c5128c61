"""The image benchmark on a small photo."""

from pathlib import Path

import pytest

from benchmarks import images
from benchmarks.processes import in_fresh_process


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    images.photo(path, (800, 600))
    return path


@pytest.mark.vllm
def test_both_ways_end_at_nearly_the_same_pixels(photo: Path) -> None:
    # In a process of its own: what transformers needs here changes the environment for good.
    now = in_fresh_process(images.measure_now, photo, 12_544, 1)

    assert now["cpu_ms"] > 0
    assert now["psnr_db"] > 40
    assert now["mean_difference"] < 2


def test_the_scale_that_libjpeg_decodes_at_is_measured_alone(photo: Path) -> None:
    assert images.measure_jpeg(photo, 12_544, 1)["cpu_ms"] > 0


def test_the_workers_part_is_measured_beside_a_decoder(photo: Path) -> None:
    assert images.measure_worker(photo, 12_544, 1)["cpu_ms"] > 0
