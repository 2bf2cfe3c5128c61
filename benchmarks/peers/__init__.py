"""
The contenders of `benchmarks.queues`, one program each: `python -m benchmarks.peers.NAME VERB`.

The verbs are `enqueue COUNT`, `generate` and `refine`; the two stages run until they are stopped.
A file begins with inline script metadata (PEP 723): what has to be installed for it, pinned, and
how many records make a repetition of some seconds. One without dependencies runs in our own
environment; each of the others gets one of its own, because what they need of redis differs.
"""
