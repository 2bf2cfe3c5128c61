"""What a deployment is like at one moment: its memory, its queues, and how far its run is."""

from dataclasses import asdict, dataclass

import redis
from rq.registry import BaseRegistry

from contextvqa.errors import UnavailableError
from contextvqa.queueing.connection import connect
from contextvqa.queueing.queues import GENERATE, REFINE, rq_queue
from contextvqa.redis_url import with_password
from tests.compose.docker import Deployment, inspect
from tests.soak.processes import Memory, memory_of, running


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """What Redis says of itself."""

    used_bytes: int
    rss_bytes: int
    #: Without what an empty server needs.
    dataset_bytes: int
    num_generate: int
    num_refine: int
    #: Jobs of both queues, ended ones that are still visible included.
    num_jobs: int
    #: Keys that belong to no job and to no execution of one.
    num_other_keys: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One look."""

    #: Seconds since the soak began.
    at_s: float
    #: Lines of results.jsonl.
    num_results: int
    memory: tuple[Memory, ...]
    #: None while it cannot be asked.
    server: Server | None

    def to_json(self) -> dict[str, object]:
        """Return it as a line of the samples' file."""
        return asdict(self)


def look(deployment: Deployment, run: str, at_s: float) -> Sample:
    """Look at everything once; takes some tenths of a second."""
    containers = running(deployment.directory.name)
    return Sample(
        at_s=round(at_s, 1),
        num_results=deployment.num_results(run),
        memory=tuple(memory_of(containers)),
        server=_ask(deployment, containers["redis"]) if "redis" in containers else None,
    )


def _ask(deployment: Deployment, container: str) -> Server | None:
    addresses = inspect(container, "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}")
    if not addresses:
        return None  # it has just been killed
    password = (deployment.secrets_dir / "redis_watcher").read_text().strip()
    url = with_password(f"redis://watcher@{addresses[0]}:6379/0", password)
    try:
        with connect(url) as connection:
            return _server(connection)
    except (UnavailableError, redis.RedisError):
        return None


def _server(connection: redis.Redis) -> Server:
    info = connection.info()
    queues = [rq_queue(name, connection) for name in (GENERATE, REFINE)]
    queued = [queue.count for queue in queues]
    started = sum(_count(queue.started_job_registry) for queue in queues)
    ended = sum(
        _count(registry)
        for queue in queues
        for registry in (queue.finished_job_registry, queue.failed_job_registry)
    )
    num_jobs = sum(queued) + started + ended
    num_keys = info.get("db0", {}).get("keys", 0)
    return Server(
        used_bytes=info["used_memory"],
        rss_bytes=info["used_memory_rss"],
        dataset_bytes=info["used_memory_dataset"],
        num_generate=queued[0],
        num_refine=queued[1],
        num_jobs=num_jobs,
        # An execution has a key of its own, and its job one for all of its executions.
        num_other_keys=num_keys - num_jobs - 2 * started,
    )


def _count(registry: BaseRegistry) -> int:
    # Without rq's own clean-up, which judges executions that are not its own.
    return registry.get_job_count(cleanup=False)
