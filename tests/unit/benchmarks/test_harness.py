"""The harness: turns, medians and ratios, and what becomes of those that cannot run."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from benchmarks import __main__ as all_benchmarks
from benchmarks.command import command_of
from benchmarks.figures import Benchmark, Contender, Metric
from contextvqa.errors import UnavailableError
from tests.support import ROOT

METRIC = Metric(name="records_per_s", title="records/s", baseline="slow")
JSON = Path("build/benchmarks/example.json")


class Scripted(Contender):
    """Measures what it is told to, or says why it cannot."""

    size = "1 record"

    def __init__(
        self, name: str, values: Iterator[float], note: Callable[[str], None] = lambda _: None
    ) -> None:
        self.name = name
        self._values = values
        self._note = note

    def measure(self, directory: Path) -> Mapping[str, float]:
        assert list(directory.iterdir()) == []
        self._note(self.name)
        return {METRIC.name: next(self._values)}


class NotInstalled(Scripted):
    """Cannot be prepared."""

    def prepare(self) -> None:
        raise UnavailableError("cannot be installed:\nno network")


class Failing(Scripted):
    """Works once."""

    def measure(self, directory: Path) -> Mapping[str, float]:
        try:
            return super().measure(directory)
        except StopIteration as error:
            raise UnavailableError("no line for 60 s") from error


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*contenders: Contender, options: tuple[str, ...] = ("--json",)) -> Result:
    benchmark = Benchmark(
        name="example", title="An example", metrics=[METRIC], contenders=lambda _: contenders
    )
    return CliRunner().invoke(command_of(benchmark), options)


def test_contenders_take_turns() -> None:
    turns: list[str] = []
    slow = Scripted("slow", iter([1.0, 1.0, 1.0]), turns.append)
    fast = Scripted("fast", iter([2.0, 2.0, 2.0]), turns.append)

    run(slow, fast)

    assert turns == ["slow", "fast"] * 3


def test_who_takes_part_in_one_round_is_measured_once_and_keeps_its_ratio() -> None:
    slow = Scripted("slow", iter([1.0, 1.0, 1.0]))
    large = Scripted("large", iter([3.0]))
    large.max_rounds = 1

    _, measured = orjson.loads(run(slow, large).stdout)["rows"]

    assert (measured["repetitions"], measured["figures"][0]["ratio"]) == (1, 3.0)


def test_a_figure_is_a_median_with_its_spread_and_a_ratio_within_the_run() -> None:
    slow = Scripted("slow", iter([100.0, 90.0, 400.0]))
    fast = Scripted("fast", iter([250.0, 1.0, 260.0]))

    report = orjson.loads(run(slow, fast).stdout)

    [figure] = report["rows"][1]["figures"]
    assert (figure["median"], figure["lowest"], figure["highest"]) == (250.0, 1.0, 260.0)
    assert (figure["ratio"], figure["baseline"]) == (2.5, "slow")
    assert {"date", "cpu", "num_cores", "python", "server", "packages"} <= report["machine"].keys()
    assert orjson.loads(JSON.read_bytes()) == report


def test_the_table_names_every_contender_and_figure() -> None:
    done = run(Scripted("slow", iter([1234.5])), options=("--rounds", "1"))

    assert "slow" in done.stdout
    assert "1,234" in done.stdout
    assert "1x" in done.stdout


def test_who_is_not_installed_is_left_out_and_the_others_are_measured() -> None:
    done = run(NotInstalled("peer", iter(())), Scripted("slow", iter([1.0, 1.0, 1.0])))

    left_out, measured = orjson.loads(done.stdout)["rows"]
    assert left_out["failure"] == "cannot be installed: no network"
    assert left_out["figures"] == []
    assert measured["repetitions"] == 3
    assert done.exit_code == 3


def test_who_fails_in_a_later_round_has_no_figures_and_leaves_no_ratio() -> None:
    done = run(Failing("slow", iter([1.0])), Scripted("fast", iter([2.0, 2.0, 2.0])))

    failed, measured = orjson.loads(done.stdout)["rows"]
    assert (failed["failure"], failed["figures"]) == ("no line for 60 s", [])
    assert measured["figures"][0]["ratio"] is None


def test_an_older_result_does_not_outlive_a_run_that_fails() -> None:
    run(Scripted("slow", iter([1.0, 1.0, 1.0])))
    assert JSON.exists()

    done = run(Scripted("slow", iter(())))

    assert isinstance(done.exception, StopIteration)
    assert not JSON.exists()


def test_a_contender_that_is_not_there_is_bad_usage() -> None:
    done = run(Scripted("slow", iter(())), options=("--only", "fats"))

    assert done.exit_code == 2
    assert "no contender fats; there are: slow" in done.output


def test_a_benchmark_that_breaks_is_named_and_its_older_result_not_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(all_benchmarks, "BENCHMARKS", ("example",))  # there is no such module
    run(Scripted("slow", iter([1.0, 1.0, 1.0])))

    done = CliRunner().invoke(all_benchmarks.command, [])

    assert done.exit_code == 3
    assert "slow" not in done.stdout
    assert "left out: example ended with code 1" in capfd.readouterr().err + done.stderr


def test_make_bench_runs_every_benchmark_that_is_not_named_as_left_out() -> None:
    modules = [
        path for path in (ROOT / "benchmarks").glob("*.py") if "\nBENCHMARK = " in path.read_text()
    ]

    named = {*all_benchmarks.BENCHMARKS, *all_benchmarks.ON_REQUEST}
    assert named == {path.stem for path in modules}
