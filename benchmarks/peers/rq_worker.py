# /// script
# dependencies = []
#
# [tool.benchmark]
# num_records = 400
# ///
"""Stock rq's Worker, its default: as SimpleWorker, and each job in a process forked for it."""

from rq import Worker

from benchmarks.peers import program
from benchmarks.peers.rq_simple_worker import enqueue, generate_queue, refine_queue, work

if __name__ == "__main__":
    program.main(enqueue, lambda: work(generate_queue, Worker), lambda: work(refine_queue, Worker))
