"""What the files of runs tell, as metrics: exact whatever was killed, since files are the truth."""

from collections.abc import Iterator, Mapping

import msgspec
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from contextvqa.watching.funnel import ACCEPTED, FunnelState

#: What a gate finds a fault with, and what it does about it: the fields of a GateCount.
GATE_COUNTS = {
    "articles_dropped": ("article", "drop"),
    "articles_flagged": ("article", "flag"),
    "pairs_dropped": ("pair", "drop"),
    "pairs_flagged": ("pair", "flag"),
}


def families(funnels: Mapping[str, FunnelState | None]) -> Iterator[Metric]:
    """Yield the metrics of runs by their names; None stands for a run that cannot be read."""
    readable = GaugeMetricFamily(
        "contextvqa_run_readable", "Whether a run's files could be read.", labels=("run",)
    )
    for run, funnel in funnels.items():
        readable.add_metric((run,), funnel is not None)
    yield readable
    read = {run: funnel for run, funnel in funnels.items() if funnel is not None}
    yield from _endings(read)
    yield from _attempts(read)
    yield from _gates(read)


def _endings(funnels: Mapping[str, FunnelState]) -> Iterator[Metric]:
    results = CounterMetricFamily(
        "contextvqa_results", "Records with a line in results.jsonl.", labels=("run",)
    )
    rejects = GaugeMetricFamily(
        "contextvqa_rejects",
        "Records without a result and with a line in rejects.jsonl, by the reason of the last.",
        labels=("run", "reason"),
    )
    steps = GaugeMetricFamily(
        "contextvqa_funnel_records", "Records that came past a step.", labels=("run", "step")
    )
    pairs = GaugeMetricFamily(
        "contextvqa_pairs", "Question/answer pairs of the results.", labels=("run", "pairs")
    )
    for run, funnel in funnels.items():
        results.add_metric((run,), funnel.steps[ACCEPTED])
        for reason, count in funnel.rejects.items():
            rejects.add_metric((run, reason), count.count)
        for step, number in funnel.steps.items():
            steps.add_metric((run, step), number)
        pairs.add_metric((run, "written"), funnel.pairs.written)
        pairs.add_metric((run, "kept"), funnel.pairs.kept)
    yield from (results, rejects, steps, pairs)


def _attempts(funnels: Mapping[str, FunnelState]) -> Iterator[Metric]:
    attempts = GaugeMetricFamily(
        "contextvqa_attempts", "Attempts of the records that have ended.", labels=("run",)
    )
    records = GaugeMetricFamily(
        "contextvqa_records", "Records that have ended.", labels=("run", "attempts")
    )
    others = GaugeMetricFamily(
        "contextvqa_other_attempts",
        "Attempts whose text did not become the record's line.",
        labels=("run", "reason"),
    )
    for run, funnel in funnels.items():
        attempts.add_metric((run,), sum(n * number for n, number in funnel.attempts.items()))
        for num_attempts, number in funnel.attempts.items():
            records.add_metric((run, str(num_attempts)), number)
        for reason, number in funnel.other_attempts.items():
            others.add_metric((run, reason), number)
    yield from (attempts, records, others)


def _gates(funnels: Mapping[str, FunnelState]) -> Iterator[Metric]:
    findings = GaugeMetricFamily(
        "contextvqa_gate_findings",
        "What the gates found in the records that have ended.",
        labels=("run", "gate", "part", "action"),
    )
    for run, funnel in funnels.items():
        for gate, count in funnel.gates.items():
            for field, number in msgspec.structs.asdict(count).items():
                findings.add_metric((run, gate, *GATE_COUNTS[field]), number)
    yield findings
