"""How GPUs and cores are shared out among the worker processes of a host."""

import os
import subprocess
import sys

import pytest

from contextvqa.errors import UnavailableError, UsageError
from contextvqa.settings import Devices
from worker import environment, gpus
from worker.decoders import default_decoders
from worker.gpus import GPU
from worker.places import Place, places_of

WHOLE = [GPU(f"GPU-{number}", number) for number in range(6)]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A host with 32 cores, of which 4 to 31 are ours, and vLLM's GPU build."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4, 32)))
    monkeypatch.setattr(environment, "is_cpu_build", lambda: False)
    monkeypatch.setattr(gpus, "choose", lambda _: WHOLE)
    return monkeypatch


@pytest.fixture
def cpu_host(host: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The same with vLLM's CPU build."""
    host.setattr(environment, "is_cpu_build", lambda: True)
    return host


@pytest.mark.usefixtures("host")
def test_without_devices_there_is_one_place_with_all_cores_and_no_limits() -> None:
    assert places_of(Devices(), tensor_parallel_size=2) == [Place(num_cores=28)]


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("size", "names", "second"),
    [
        (1, ["gpu0", "gpu1", "gpu2", "gpu3", "gpu4", "gpu5"], "1"),
        (2, ["gpu0+1", "gpu2+3", "gpu4+5"], "2,3"),
        (3, ["gpu0+1+2", "gpu3+4+5"], "3,4,5"),
    ],
)
def test_gpus_are_shared_out_in_groups_and_the_cores_with_them(
    size: int, names: list[str], second: str
) -> None:
    places = places_of(Devices(gpus="all"), tensor_parallel_size=size)

    assert [place.name for place in places] == names
    assert places[1].variables["CUDA_VISIBLE_DEVICES"] == second
    assert {place.num_cores for place in places} == {28 // len(names)}
    assert not any(place.cpus for place in places)


@pytest.mark.usefixtures("host")
def test_gpus_that_do_not_go_into_groups_are_refused() -> None:
    with pytest.raises(UsageError, match=r"6 GPUs \(0, 1, 2, 3, 4, 5\), .*parallel-size 4\."):
        places_of(Devices(gpus="all"), tensor_parallel_size=4)


def test_an_engine_spans_no_parts_of_a_split_gpu(host: pytest.MonkeyPatch) -> None:
    host.setattr(gpus, "choose", lambda _: [GPU("MIG-1-a", None), GPU("MIG-2-b", None)])

    with pytest.raises(UsageError, match="an engine spans no parts of split GPUs"):
        places_of(Devices(gpus="all"), tensor_parallel_size=2)
    names = [place.name for place in places_of(Devices(gpus="all"), tensor_parallel_size=1)]
    assert names == ["mig-1", "mig-2"]


@pytest.mark.usefixtures("cpu_host")
def test_each_list_of_cores_is_a_place() -> None:
    first, second = places_of(Devices(cpus=("4-7,31", "8")), tensor_parallel_size=1)

    assert (first.name, first.cpus, first.num_cores) == ("cpu4-7+31", {4, 5, 6, 7, 31}, 5)
    assert (second.name, second.cpus, second.num_cores) == ("cpu8", {8}, 1)


@pytest.mark.usefixtures("cpu_host")
@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (("4-7", "7-9"), "--cpus 7-9 names core 7, which another one has"),
        (("3-5",), "names core 3, and this process may use 28 cores, 4 to 31"),
        (("4-999999",), "names core 32, and"),
        (("9-8",), "--cpus: 9-8 runs backwards; it should be 8-9"),
        (("all",), "--cpus 'all' is no list of cores such as 0-15"),
        (("4,",), "is no list of cores"),
        (("4 5",), "is no list of cores"),
        (("1" * 5000,), "is no list of cores"),
        (("٤",), "is no list of cores"),
    ],
)
def test_cores_that_are_not_ours_or_no_cores_are_refused(
    lists: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        places_of(Devices(cpus=lists), tensor_parallel_size=1)


@pytest.mark.usefixtures("cpu_host")
def test_gpus_are_refused_where_vllm_is_built_for_the_cpu() -> None:
    with pytest.raises(UnavailableError, match=r"--gpus is for the vLLM of contextvqa\[gpu\]"):
        places_of(Devices(gpus="0"), tensor_parallel_size=1)


@pytest.mark.usefixtures("host")
def test_cores_are_refused_where_vllm_is_built_for_gpus() -> None:
    with pytest.raises(UnavailableError, match=r"--cpus is for the vLLM of contextvqa\[cpu\]"):
        places_of(Devices(cpus=("4",)), tensor_parallel_size=1)


def test_gpus_and_cores_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="--gpus and --cpus do not go together"):
        Devices(gpus="0", cpus=("0",))


SCRIPT = """
import os, subprocess, sys
from worker.places import Place
core = min(os.sched_getaffinity(0))
Place(name="x", num_cores=1, cpus=frozenset({core}), variables={"CUDA_VISIBLE_DEVICES": "3"}).take()
child = "import os; print(len(os.sched_getaffinity(0)), os.environ['CUDA_VISIBLE_DEVICES'])"
print(subprocess.check_output([sys.executable, "-c", child], text=True))
"""


def test_whoever_takes_a_place_is_confined_to_it_with_all_that_it_starts() -> None:
    said = subprocess.check_output([sys.executable, "-c", SCRIPT], text=True)

    assert said.split() == ["1", "3"]


@pytest.mark.parametrize(("num_cores", "number"), [(1, 1), (2, 1), (4, 3), (9, 8), (64, 8)])
def test_a_worker_decodes_on_its_share_of_the_cores_but_one(num_cores: int, number: int) -> None:
    assert default_decoders(num_cores) == number
