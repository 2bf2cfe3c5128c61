"""What becomes of a path that an image is said to be at."""

import errno
import os
import socket
from pathlib import Path

import pytest

from contextvqa.errors import ImageError, Reason, TransientError
from worker import files
from worker.files import open_file, place_of


def refusal(path: Path | str) -> ImageError:
    with pytest.raises(ImageError) as caught:
        open_file(Path(path))
    return caught.value


def test_a_regular_file_is_opened_at_its_start(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"image")

    with open_file(path) as file:
        assert file.read() == b"image"


@pytest.mark.parametrize(
    "reference",
    ["a\0b.png", "\ud800.png", "x" * 5000, "x/" * 3000, "file.txt/a.png", "loop/a.png"],
    ids=["nul byte", "lone surrogate", "long name", "long path", "below a file", "symlink loop"],
)
def test_a_reference_that_no_file_can_have_is_not_found(tmp_path: Path, reference: str) -> None:
    (tmp_path / "file.txt").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    assert refusal(tmp_path / reference).reason is Reason.IMAGE_NOT_FOUND


@pytest.mark.parametrize(
    "reference",
    [
        *("/etc/passwd", "/proc/self/environ", "/dev/zero", "/gone", "../a.png"),
        *("sub/../../a.png", "link.png", "linked/a.png", "../root2/a.png"),
    ],
)
def test_a_reference_that_leaves_a_root_which_confines_is_refused_whether_it_exists_or_not(
    tmp_path: Path, reference: str
) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "root2").mkdir()
    for path in (tmp_path / "a.png", tmp_path / "root2" / "a.png"):
        path.write_bytes(b"image")
    (root / "link.png").symlink_to(tmp_path / "a.png")
    (root / "linked").symlink_to(tmp_path / "root2")

    with pytest.raises(ImageError) as caught:
        place_of(reference, root, is_confined=True)

    assert caught.value.reason is Reason.IMAGE_OUTSIDE
    assert place_of(reference, root, is_confined=False) == root / reference


@pytest.mark.parametrize("reference", ["a.png", "./sub/../a.png", "link.png", "{root}/a.png"])
def test_what_lies_within_a_root_which_confines_is_found_by_any_name(
    tmp_path: Path, reference: str
) -> None:
    real = tmp_path / "real"
    (real / "sub").mkdir(parents=True)
    (real / "a.png").write_bytes(b"image")
    (real / "link.png").symlink_to("a.png")
    root = tmp_path / "root"
    root.symlink_to(real)

    place = place_of(reference.format(root=root), root, is_confined=True)

    assert place == (real / "a.png").resolve()


@pytest.mark.parametrize("reference", ["a\0b.png", "loop", "x" * 5000, "\ud800.png"])
def test_a_name_that_no_file_can_have_is_not_found_where_a_root_confines_too(
    tmp_path: Path, reference: str
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    with pytest.raises(ImageError) as caught:
        open_file(place_of(reference, tmp_path, is_confined=True))

    assert caught.value.reason is Reason.IMAGE_NOT_FOUND


def test_a_url_is_a_path_that_is_not_there_and_nothing_is_fetched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.png"

        assert refusal(tmp_path / url).reason is Reason.IMAGE_NOT_FOUND
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    error = refusal(tmp_path)

    assert error.reason is Reason.IMAGE_NOT_A_FILE
    assert "directory" in str(error)


@pytest.mark.timeout(10)
def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")

    assert refusal(tmp_path / "pipe.png").reason is Reason.IMAGE_NOT_A_FILE


def test_devices_and_sockets_are_not_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # The path of a socket has at most 108 bytes.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")

        assert refusal("socket.png").reason is Reason.IMAGE_NOT_A_FILE
    assert refusal("/dev/zero").reason is Reason.IMAGE_NOT_A_FILE


def test_a_file_of_absurd_length_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.webp").open("wb") as file:
        file.truncate(files.MAX_FILE_BYTES + 1)

    assert refusal(tmp_path / "huge.webp").reason is Reason.IMAGE_TOO_LARGE


def fail_open(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.open", fail)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EINVAL])
def test_a_file_that_may_not_be_read_is_unreadable(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fail_open(monkeypatch, number)

    error = refusal("secret.png")

    assert error.reason is Reason.IMAGE_UNREADABLE
    assert os.strerror(number) in str(error)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE])
def test_trouble_that_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    fail_open(monkeypatch, number)

    with pytest.raises(TransientError, match=os.strerror(number)):
        open_file(Path("a.png"))
