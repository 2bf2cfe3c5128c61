"""`contextvqa dashboard` in a real browser: what people see, click, and are spared."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from contextvqa.processes.server import EmbeddedServer
from contextvqa.queueing.connection import connect
from contextvqa.queueing.queues import GENERATE, job_key, rq_queue
from tests.integration.stand_in import GOOD, ONCE, lines_of, work_off
from tests.stages import enqueue
from tests.support import ROOT, clean_environment, contextvqa, run_contextvqa

HANGING_WORKER = ROOT / "tests" / "integration" / "hanging_worker.py"
TIMEOUT_S = 60

#: Each tries to run a script in another place that a page may put text in.
HOSTILE = (
    "<img src=x onerror=window.broken=1>",
    "</script><script>window.broken=1</script>",
    "\" onmouseover=window.broken=1 x=\"'-(window.broken=1)-'",
    "<%= window.broken=1 %>{{ 7*7 }}${window.broken=1}",
)

POINT_AT_EVERYTHING = """
document.querySelectorAll("*").forEach(element => element.dispatchEvent(new Event("mouseover")));
"""

Browser = webdriver.Chrome


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        missing = "needs chromium and chromedriver: apt install chromium chromium-driver"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"),
        *("disable-background-networking", "disable-component-update", "disable-dev-shm-usage"),
        *(f"user-data-dir={profile}", "window-size=1200,800"),
    ):
        options.add_argument(f"--{flag}")
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as chromium:
        yield chromium


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    yield chromium
    # A page that goes on asking would complain in the next test.
    chromium.get("about:blank")
    complaints(chromium)


@pytest.fixture
def url(redis_url: str) -> Iterator[str]:
    with dashboard("--redis-url", redis_url) as url:
        yield url


@contextmanager
def dashboard(*options: object) -> Iterator[str]:
    """Run a real dashboard on a free port; give its URL."""
    command = contextvqa("dashboard", "--port", 0, *options)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=clean_environment()
    ) as process:
        try:
            assert process.stderr is not None
            yield process.stderr.readline().split()[1]
        finally:
            process.terminate()
    assert process.returncode == 0


def until_text(browser: Browser, text: str, selector: str = "body") -> str:
    """Return an element's text once it holds this; pages fill themselves in."""

    def found(browser: Browser) -> str | None:
        whole: str = browser.find_element(By.CSS_SELECTOR, selector).text
        return whole if text in whole else None

    wait = WebDriverWait(browser, TIMEOUT_S, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(found, f"{text!r} never came")


def complaints(browser: Browser) -> list[str]:
    """Return what the browser says of the pages since the last call: broken or refused scripts."""
    return [entry["message"] for entry in browser.get_log("browser")]


def test_the_queues_page_shows_what_waits(
    browser: Browser, url: str, connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 3)

    browser.get(url)

    assert "generate 3 0 0 0 0 0 0" in until_text(browser, "generate", "#queues")
    assert "refine 0 0 0 0 0 0 0" in until_text(browser, "refine", "#queues")
    assert complaints(browser) == []


def test_the_workers_page_shows_what_is_in_flight(
    browser: Browser, url: str, connection: redis.Redis, redis_url: str, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 9)
    with subprocess.Popen(
        [sys.executable, HANGING_WORKER, redis_url], stdout=subprocess.PIPE, env=clean_environment()
    ) as worker:
        try:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"8 in flight\n"

            browser.get(f"{url}0/view/workers")
            row = until_text(browser, "8 in flight, one: generate test ", "#workers")
            browser.get(f"{url}0/view/jobs/generate/started/8/asc/1")
            started = until_text(browser, "generate test 1 1.png", "#jobs")
        finally:
            worker.kill()

    assert row.splitlines()[-1].endswith(".png generate")
    assert started.count("generate test ") == 8
    assert complaints(browser) == []


def test_a_failed_job_shows_its_reason_and_requeue_makes_its_record_done(
    browser: Browser,
    url: str,
    connection: redis.Redis,
    redis_url: str,
    runs_dir: Path,
    tmp_path: Path,
) -> None:
    # Given a record whose image is not there
    places: list[object] = ["--runs-dir", runs_dir, "--redis-url", redis_url]
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'{"image": "late.png"}\n')
    assert run_contextvqa("enqueue", source, "--run", "r", *ONCE, *places).returncode == 0
    work_off(connection, lambda _: None, places)
    browser.get(f"{url}0/view/jobs/generate/failed/8/asc/1")
    until_text(browser, "image.not_found: there is no such file", "#jobs")

    # When somebody requeues it
    browser.find_element(By.CSS_SELECTOR, "[data-role=requeue-job-btn]").click()

    # Then it has left the failed jobs, and its record gets done
    until_text(browser, "No jobs.", "#jobs")
    assert rq_queue(GENERATE, connection).count == 1
    (record,) = work_off(connection, lambda _: GOOD, places)
    assert record.attempt == 2
    (line,) = lines_of(runs_dir / "r", "results")["late.png"]
    assert line["meta"]["attempt"] == 2
    assert run_contextvqa("audit", "r", "--input", source, *places).returncode == 0
    assert complaints(browser) == []


def test_a_requeue_that_cannot_be_done_says_why(
    browser: Browser, url: str, connection: redis.Redis, runs_dir: Path
) -> None:
    enqueue(connection, runs_dir, 1)
    job_id = rq_queue(GENERATE, connection).job_ids[0]
    connection.lpop(rq_queue(GENERATE, connection).key)
    connection.hset(job_key(job_id), "status", "failed")
    browser.get(f"{url}0/view/job/{job_id}")
    until_text(browser, "failed", "#job-data")

    connection.hset(job_key(job_id), "status", "queued")
    browser.find_element(By.ID, "requeue-job-btn").click()

    until_text(browser, "Not requeued: its record is on its way", "#trouble")


def test_another_sites_page_cannot_requeue(browser: Browser, url: str) -> None:
    form = f'<form method="post" action="{url}requeue/generate"><button>Win!</button></form>'
    browser.get(f"data:text/html,{form}")

    browser.find_element(By.TAG_NAME, "button").click()

    until_text(browser, "This came from another site's page")


@pytest.mark.parametrize("text", HOSTILE)
def test_text_that_came_with_a_job_is_shown_and_never_run(
    browser: Browser, url: str, connection: redis.Redis, runs_dir: Path, text: str
) -> None:
    # Given a job, and a worker's name, of somebody who can write to Redis
    enqueue(connection, runs_dir, 1)
    queue = rq_queue(GENERATE, connection)
    job = job_key(queue.job_ids[0])
    connection.hset(job, mapping={"description": text, "origin": text})
    worker = {"birth": "2026-01-01T00:00:00Z", "queues": text, "version": text, "state": "busy"}
    connection.hset(f"rq:worker:{text}", mapping=worker)
    connection.sadd("rq:workers", f"rq:worker:{text}")

    # When people look at it, and point at everything
    for path, selector in (
        ("jobs/generate/queued/8/asc/1", "#jobs"),
        (f"job/{queue.job_ids[0]}", "#job-data"),
        ("workers", "#workers"),
    ):
        browser.get(f"{url}0/view/{path}")
        until_text(browser, text, selector)
        browser.execute_script(POINT_AT_EVERYTHING)

        # Then they read it
        assert browser.execute_script("return window.broken") is None
        assert complaints(browser) == []


def test_pages_say_that_redis_is_away_and_go_on_when_it_is_back(
    browser: Browser, tmp_path: Path, runs_dir: Path
) -> None:
    with ExitStack() as stack:
        # Given two pages, of which one is open when Redis goes
        with EmbeddedServer(tmp_path / "redis") as server:
            with connect(server.url) as connection:
                enqueue(connection, runs_dir, 2)
            url = stack.enter_context(dashboard("--redis-url", server.url))
            browser.get(url)
            until_text(browser, "generate 2", "#queues")
        until_text(browser, "Redis at unix://", "#trouble")
        browser.get(f"{url}0/view/workers")
        until_text(browser, "does not answer", "h1")

        # When it is back
        stack.enter_context(EmbeddedServer(tmp_path / "redis"))

        # Then the other comes by itself
        until_text(browser, "No workers", "#workers")
