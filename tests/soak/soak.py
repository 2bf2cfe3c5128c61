"""The soak itself: start, feed, kill and look until the time is over, and see what became of it."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import Machine
from contextvqa.progress import Ticker, say
from tests.compose.docker import Deployment, checked
from tests.soak.feed import Feed
from tests.soak.kills import kills
from tests.soak.processes import running
from tests.soak.record import Kill, Outcome, Record, append
from tests.soak.watch import Sample, look
from tests.support import read_lines, wait_until

RUN = "soak"
NUM_REFINERS = 3
#: Seconds between two looks.
LOOK_INTERVAL_S = 5.0
#: Seconds until the first line: engine and first texts.
START_S = 900.0
#: Seconds in which what is queued must be done when nothing more comes.
END_S = 3_600


def soak(deployment: Deployment, duration_s: float, seed: str, directory: Path) -> Record:
    """
    Let a deployment work at full rate for a while, and kill its containers meanwhile.

    Args:
        duration_s: From the first line to the last kill.
        directory: Where samples are written to.

    """
    machine = Machine.here()
    deployment.do("up", "-d", "--scale", f"refiner={NUM_REFINERS}")
    (server,) = checked(
        "docker", "exec", running(deployment.directory.name)["redis"], "redis-server", "--version"
    ).splitlines()
    feed = Feed(deployment, RUN)
    feed.start()
    say("waiting for the first result")
    wait_until(lambda: deployment.num_results(RUN), timeout_s=START_S)
    killed = list(_work(deployment, feed, duration_s, seed, directory))
    say("the time is over: waiting for what is queued")
    feed.close()
    outcome = _finish(deployment, feed)
    return Record(
        machine=machine,
        server=" ".join(server.split()[:3]),
        duration_s=duration_s,
        seed=seed,
        kills=tuple(killed),
        outcome=outcome,
    )


def _work(
    deployment: Deployment, feed: Feed, duration_s: float, seed: str, directory: Path
) -> Iterator[Kill]:
    """Yield what was killed, until the time is over."""
    began = time.monotonic()
    plan = kills(seed, duration_s)
    due = next(plan, None)
    ticker = Ticker()
    counts: Counter[str] = Counter()
    while (now_s := time.monotonic() - began) < duration_s:
        if due is not None and now_s >= due[0]:
            if _kill(deployment, due[1]):
                counts[due[1]] += 1
                yield Kill(at_s=round(now_s, 1), victim=due[1])
            due = next(plan, None)
        sample = look(deployment, RUN, now_s)
        append(sample, directory)
        feed.go_on(sample.num_results)
        ticker.tick(f"{now_s / 60:.1f} of {duration_s / 60:g} min: {_line(sample, counts)}")
        time.sleep(LOOK_INTERVAL_S)


def _kill(deployment: Deployment, role: str) -> bool:
    """Kill a container; one that is starting anew just now is spared."""
    try:
        deployment.kill(running(deployment.directory.name)[role])
    except (KeyError, ProcessLookupError):
        say(f"{role} is not running, and so is not killed")
        return False
    return True


def _line(sample: Sample, counts: Counter[str]) -> str:
    memory_mb = sum(process.num_bytes for process in sample.memory) / 1e6
    queue = "Redis is away"
    if sample.server is not None:
        queue = (
            f"{sample.server.num_generate} queued, Redis {sample.server.used_bytes / 1e6:.1f} MB"
        )
    return (
        f"{sample.num_results} results, {queue}, all processes {memory_mb:,.0f} MB, "
        f"{counts.total()} kills"
    )


def _finish(deployment: Deployment, feed: Feed) -> Outcome:
    """Wait until all is done, and compare what was asked for with what there is."""
    began = time.monotonic()
    wait = deployment.compose(
        *("run", "--rm", "-T", "cli", "wait", RUN, "--timeout-s", END_S, "--max-rejects", "100%")
    )
    say(wait.stderr.strip().splitlines()[-1])
    end_s = time.monotonic() - began
    audit = deployment.compose(
        *("run", "--rm", "-T", "cli", "audit", RUN, "--input", f"/data/{feed.path.name}")
    )
    for line in audit.stdout.splitlines():
        say(line)
    directory = deployment.runs_dir / RUN
    results = [line["id"] for line in read_lines(directory / "results.jsonl")]
    rejects = [line["id"] for line in read_lines(directory / "rejects.jsonl")]
    asked = {line["id"] for line in read_lines(feed.path)}
    return Outcome(
        num_rows=len(asked),
        num_results=len(results),
        num_rejects=len(set(rejects) - set(results)),
        num_lost=len(asked - {*results, *rejects}),
        num_doubled=len(results) - len(set(results)),
        end_s=round(end_s, 1),
        audit_code=audit.returncode,
    )
