"""How a claim ends that no stage could execute."""

from contextvqa.errors import Reason
from contextvqa.queueing.job_hash import Execution, StoredJob
from contextvqa.queueing.jobs import FUNCTIONS, JobSpec, generate_job, refine_job
from contextvqa.queueing.outcomes import Claim, Failed, rejected
from contextvqa.queueing.queues import GENERATE, REFINE, OrjsonSerializer
from contextvqa.records import ImageRecord, Rejection
from tests.support import generation_of

RECORD = ImageRecord(
    run="r", key="0" * 32, id=7, image=("fr.png",), prompt_digest="0123456789abcdef"
)


def rejection_of(spec: JobSpec, stage: str) -> Rejection:
    data = OrjsonSerializer.dumps((FUNCTIONS[spec.queue], None, [], spec.arguments))
    claim = Claim(StoredJob(spec.id, data, 4, 0), Execution(spec.id, "e"))
    outcome = rejected(claim, stage, Reason.CRASHED, "too often")
    assert isinstance(outcome, Failed)
    (follow_up,) = outcome.follow_ups
    assert isinstance(follow_up.content, Rejection)
    return follow_up.content


def test_a_text_on_which_the_refiner_gave_up_is_kept_with_its_rejection() -> None:
    generation = generation_of(RECORD, "text")

    assert rejection_of(refine_job(generation), REFINE).written == generation.written
    assert rejection_of(generate_job(RECORD), GENERATE).written is None
