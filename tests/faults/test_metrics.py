"""What `contextvqa metrics` counts, compared with the files, Redis and the ledger's own book."""

import time
from collections import Counter
from typing import Any

from contextvqa.queueing.queues import GENERATE, REFINE, pending_key
from tests.faults.conftest import MakeWorld
from tests.faults.engine import FAIL, REFUSE
from tests.faults.ledger import Entry, places
from tests.faults.plan import trials
from tests.faults.processes import Child
from tests.faults.world import RUN, World, entries, entry, wait_for
from tests.scrapes import Scrape, url_in
from tests.support import read_lines

NUM_KILLS = 3
PATIENT = ("--max-crashes", 100)


def records() -> list[Entry]:
    """Return good records, and some for each of three reasons."""
    bad = {
        "image.not_found": ("gone.png", "Write."),
        "request.refused": ("red.png", REFUSE),
        "job.retries_exhausted": ("red.png", FAIL),
    }
    return [
        *entries(60),
        *(
            entry(f"{reason} {number}", image, f"{prompt} {number}", reasons=[reason])
            for number in range(4)
            for reason, (image, prompt) in bad.items()
        ),
    ]


def test_counts_are_those_of_the_ledger_whenever_nothing_moves_whatever_was_killed(
    make_world: MakeWorld,
) -> None:
    for trial in trials("metrics"):
        with make_world(trial, records()) as world:
            assert world.producer().wait() == 0
            endpoint = world.metrics()
            # Given daemons that are killed with records in flight, the endpoint at times with them
            for number in range(NUM_KILLS):
                daemons = [world.worker(*PATIENT), world.refiner(*PATIENT)]
                wait_for(lambda world=world: world.count_in_flight() or world.is_complete())
                time.sleep(trial.random.uniform(0, 0.06))
                world.note_fault()
                victims = [*daemons, *([endpoint] if number == 1 else [])]
                for child in victims:
                    child.kill()
                if endpoint in victims:
                    endpoint = world.metrics()

                # Then at each quiet point all counts are exact
                scrape = scraped(endpoint)
                assert_files_are_counted(scrape, world)
                assert_redis_is_counted(scrape, world)

            # And at the end they are what the ledger expects
            world.finish([], *PATIENT)
            assert_the_book_is_counted(scraped(endpoint), world)


def scraped(endpoint: Child) -> Scrape:
    wait_for(lambda: url_in(endpoint.log))
    return Scrape(str(url_in(endpoint.log)))


def assert_files_are_counted(scrape: Scrape, world: World) -> None:
    results = read_lines(world.ledger.directory.results_path)
    rejects = read_lines(world.ledger.directory.rejects_path)

    assert scrape.value("contextvqa_results_total", run=RUN) == len(results)
    assert scrape.count("contextvqa_rejects", "reason") == Counter((r["reason"],) for r in rejects)
    lines = [*results, *rejects]
    assert scrape.value("contextvqa_attempts", run=RUN) == sum(map(attempts_of, lines))
    by_attempts = Counter((str(attempts_of(line)),) for line in lines)
    assert scrape.count("contextvqa_records", "attempts") == by_attempts
    others = Counter((other["reason"],) for line in lines for other in others_of(line))
    assert scrape.count("contextvqa_other_attempts", "reason") == others
    pairs = sum(len(line["context_vqa"]["qas"]) for line in results)
    assert scrape.value("contextvqa_pairs", pairs="kept") == pairs
    gates = Counter(
        code.removeprefix("gate.")
        for line in lines
        for code, found in line["meta"].get("checks", {}).items()
        for _ in (found if code.startswith("gate.") else ())
    )
    assert scrape.count("contextvqa_gate_findings", "gate") == {(g,): n for g, n in gates.items()}


def assert_redis_is_counted(scrape: Scrape, world: World) -> None:
    found = scrape.count("contextvqa_jobs", "queue", "state")

    queues = (GENERATE, REFINE)
    stand = [(queue, at) for queue in queues for at, _ in places(world.connection, queue)]
    assert found == Counter(stand)
    assert scrape.value("contextvqa_pending", run=RUN) == world.connection.scard(pending_key(RUN))
    assert scrape.value("contextvqa_redis_up") == 1


def assert_the_book_is_counted(scrape: Scrape, world: World) -> None:
    book = world.ledger.entries.values()
    good = [entry for entry in book if entry.is_good]
    reasons = Counter((reason,) for entry in book for reason in entry.reasons)

    assert scrape.value("contextvqa_results_total", run=RUN) == len(good)
    assert scrape.count("contextvqa_rejects", "reason") == reasons
    rejects = read_lines(world.ledger.directory.rejects_path)
    attempts = sum(entry.num_attempts for entry in good) + sum(map(attempts_of, rejects))
    assert scrape.value("contextvqa_attempts", run=RUN) == attempts
    assert scrape.value("contextvqa_pending", run=RUN) == 0
    assert scrape.count("contextvqa_workers", "queue") == {}
    assert_files_are_counted(scrape, world)
    assert_redis_is_counted(scrape, world)


def attempts_of(line: dict[str, Any]) -> int:
    meta = line["meta"]
    own = line.get("attempts") or meta["attempt"]
    return max([own, *(other["attempt"] for other in others_of(line))])


def others_of(line: dict[str, Any]) -> list[dict[str, Any]]:
    return [*line["meta"].get("earlier", ()), *line["meta"].get("later", ())]
