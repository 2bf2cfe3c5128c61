"""Two hosts that share a run: one loses its network past the lease, and gets it back."""

from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from contextvqa.queueing import claims, registration
from contextvqa.storage.run_directory import RunDirectory
from tests.faults.conftest import MakeWorld
from tests.faults.engine import Script
from tests.faults.plan import Trial, trials
from tests.faults.processes import Child, Patch
from tests.faults.silence import name_of, quick_clocks, wait_until_reaped
from tests.faults.world import RUN, World, entries, is_ready, wait_for
from tests.hosts import network, server_on

#: Of a worker's key, in seconds, where the clocks are quick.
QUICK_TTL_S = 2


def clocks_of(trial: Trial) -> Sequence[Patch]:
    """Return the patches of a trial: one has the true clocks."""
    if not trial.number:
        return []
    ttls = [
        mock.patch.object(module, "WORKER_TTL_S", QUICK_TTL_S) for module in (claims, registration)
    ]
    return [*quick_clocks(), *(ttl.start for ttl in ttls)]


def count_lines_of(world: World, worker: Child) -> int:
    """Return how many accepted records a worker has written; the last line may be unfinished."""
    path = RunDirectory(world.runs_dir, RUN).results_path
    return path.read_bytes().count(name_of(worker).encode()) if path.exists() else 0


def test_a_host_that_was_cut_off_past_the_lease_drops_what_others_took_over_and_goes_on(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    for trial in trials("hosts"):
        place = tmp_path / f"network-{trial.number}"
        place.mkdir()
        with (
            network(place, "here", "there") as (here, there),
            server_on(here, place / "redis") as (url, url_of_socket),
            make_world(trial, entries(150 if trial.number else 400), url_of_socket) as world,
        ):
            # Given a worker and a refiner on each of two hosts
            world.url = url
            world.script = Script(latency_s=(0.2, 0.6), max_num_seqs=4)
            world.patches = [here.enter, *clocks_of(trial)]
            assert world.producer().wait() == 0
            stay = [world.worker(), world.refiner()]
            go = [world.worker(patches=[there.enter]), world.refiner(patches=[there.enter])]
            wait_for(lambda daemons=(*stay, *go): all(map(is_ready, daemons)))
            wait_for(lambda world=world, worker=go[0]: count_lines_of(world, worker))

            # When one is cut off for so long that the other takes over what it held
            world.note_fault()
            there.cut_off()
            for daemon_there in go:
                wait_until_reaped(world, daemon_there)
            num_before = count_lines_of(world, go[0])
            there.plug_in()

            # Then it drops that, writes more, and nothing is lost or doubled
            wait_for(lambda worker=go[0]: "dropped: " in worker.log.read_text())
            wait_for(
                lambda world=world, worker=go[0], before=num_before: (
                    count_lines_of(world, worker) > before
                )
            )
            world.finish([*stay, *go])
