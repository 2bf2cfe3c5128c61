"""The network between daemons and server: cut for seconds or a minute, silent, reset, slow."""

import socket
import time
from pathlib import Path

from tests.faults.conftest import MakeWorld
from tests.faults.engine import Script
from tests.faults.plan import trials
from tests.faults.proxy import Mode, proxy_to
from tests.faults.test_redis import own_server
from tests.faults.world import entries, is_ready, wait_for

#: What the network does, and for how long, in seconds. Past 10 s of silence a socket gives up, past
#: 15 s a worker's key has gone.
CUTS = (
    (Mode.SILENCE, 15.0),
    (Mode.RESET, 5.0),
    (Mode.SLOW, 5.0),
    (Mode.SILENCE, 5.0),
    (Mode.RESET, 15.0),
    (Mode.SILENCE, 60.0),
    (Mode.RESET, 60.0),
)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_a_network_that_comes_back_costs_time_and_no_record(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    for trial in trials("network"):
        mode, duration_s = CUTS[trial.number % len(CUTS)]
        port = free_port()
        with (
            own_server(tmp_path / f"redis-{trial.number}", port=str(port)) as server,
            proxy_to(port, tmp_path / "proxy.log") as proxy,
            make_world(trial, entries(400), server.url) as world,
        ):
            # Given two workers and two refiners behind a network
            assert world.producer().wait() == 0
            world.script = Script(latency_s=(0.05, 0.3))
            world.url = proxy.url
            daemons = [world.worker(), world.worker(), world.refiner(), world.refiner()]
            wait_for(lambda daemons=daemons: all(map(is_ready, daemons)))
            wait_for(lambda world=world: world.count_in_flight())
            time.sleep(trial.random.uniform(0, 0.3))

            # When it fails for a while
            world.note_fault()
            proxy.set(mode)
            time.sleep(duration_s)
            proxy.set(Mode.PASS)

            # Then all of them go on, and nobody was taken for dead
            world.finish(daemons)
