"""Which job carries which payload: one record is one job per stage, with an id of its own."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from contextvqa.errors import Reason, RejectError
from contextvqa.queueing.queues import GENERATE, REFINE
from contextvqa.records import Generation, ImageRecord, Payload, Rejection, from_payload, to_payload
from contextvqa.run_config import RUN_NAME

#: The one function that jobs of a queue may name. Never imported: the stage runs its own.
FUNCTIONS = {GENERATE: "worker.generate", REFINE: "refiner.refine"}


class Kind(StrEnum):
    """The jobs that may carry a record, told apart in their ids."""

    #: Asks a worker for a generation.
    GENERATE = "generate"
    #: Asks a refiner to read a generation.
    REFINE = "refine"
    #: Asks a refiner to write a rejection down.
    REJECT = "reject"


#: The queue of each kind.
QUEUES = {Kind.GENERATE: GENERATE, Kind.REFINE: REFINE, Kind.REJECT: REFINE}
#: The queue that follow-ups of a queue's jobs go to.
NEXT_QUEUE = {GENERATE: REFINE}
#: What a job carries: the record itself, or what was made of it.
Content = ImageRecord | Generation | Rejection
#: The keyword argument that carries it, and its type.
ARGUMENTS: dict[Kind, tuple[str, type[Content]]] = {
    Kind.GENERATE: ("record", ImageRecord),
    Kind.REFINE: ("generation", Generation),
    Kind.REJECT: ("rejection", Rejection),
}

#: Ids as `job_id` makes them.
JOB_ID = re.compile(
    rf"(?P<run>{RUN_NAME.pattern})-(?P<key>[0-9a-f]{{32}})-(?P<kind>{'|'.join(Kind)})"
)

#: Letters of an id or a file's name in a job's description.
MAX_BRIEF = 40

#: Our executions have their own deadlines. Without a value rq would write 180 s into the job.
NO_TIMEOUT = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """A job that is not in Redis yet."""

    kind: Kind
    record: ImageRecord
    content: Content

    @property
    def queue(self) -> str:
        """Name of the queue it goes to."""
        return QUEUES[self.kind]

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that its stage reads."""
        name, _ = ARGUMENTS[self.kind]
        return {name: to_payload(self.content)}

    @property
    def id(self) -> str:
        """The job's id in rq: the same for the same record and kind, always."""
        return job_id(self.record.run, self.record.key, self.kind)

    @property
    def description(self) -> str:
        """What `rq info` and the dashboard show: short, whatever the input's row holds."""
        name = self.record.image[0].rstrip("/").rpartition("/")[2]
        return " ".join((self.kind, self.record.run, _brief(str(self.record.id)), _brief(name)))


def _brief(text: str) -> str:
    """Return a text as one short line; of a long one its end, where file names differ."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text[-MAX_BRIEF:])
    return line if len(text) <= MAX_BRIEF else "…" + line[1:]


def job_id(run: str, key: str, kind: Kind) -> str:
    """Return the id of one record's job of one kind."""
    return f"{run}-{key}-{kind}"


def run_and_key(identifier: str) -> tuple[str, str] | None:
    """Return the run and the record's key that a job id names; None for a job that is not ours."""
    match = JOB_ID.fullmatch(identifier)
    return (match["run"], match["key"]) if match else None


def generate_job(record: ImageRecord) -> JobSpec:
    """Return the job that asks a worker for a generation."""
    return JobSpec(kind=Kind.GENERATE, record=record, content=record)


def refine_job(generation: Generation) -> JobSpec:
    """Return the job that asks a refiner to read a generation."""
    return JobSpec(kind=Kind.REFINE, record=generation.record, content=generation)


def reject_job(rejection: Rejection) -> JobSpec:
    """Return the job that asks a refiner to write a rejection down."""
    return JobSpec(kind=Kind.REJECT, record=rejection.record, content=rejection)


def content_of(arguments: Payload, queue: str) -> Content:
    """
    Return what the keyword arguments of a job of this queue carry.

    Raises:
        RejectError: Nothing that belongs there, or not as this version writes it.

    """
    names = []
    for kind, (name, content) in ARGUMENTS.items():
        if QUEUES[kind] == queue:
            if name in arguments:
                return from_payload(arguments[name], content)
            names.append(name)
    raise RejectError(Reason.MALFORMED, f"the job carries no {' and no '.join(names)}")


def record_in(content: Content) -> ImageRecord:
    """Return the record that content is, or is of."""
    return content if isinstance(content, ImageRecord) else content.record


def record_of(arguments: Payload) -> ImageRecord:
    """
    Return the record that a job's keyword arguments carry, even where the rest is unreadable.

    Raises:
        RejectError: There is none, as in a job left by an older version.

    """
    if "record" in arguments:
        return from_payload(arguments["record"], ImageRecord)
    carrier = next(iter(arguments.values()), None)
    found = carrier.get("record") if isinstance(carrier, dict) else None
    return from_payload(found if isinstance(found, dict) else {}, ImageRecord)
