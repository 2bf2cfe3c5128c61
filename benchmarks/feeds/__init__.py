"""
The contenders of `benchmarks.feed` that are programs, one each: `python -m benchmarks.feeds.NAME`.

Each loads the model with the engine arguments of our own worker, writes a text per request, and
leaves what it took: `benchmarks.feeds.program` says how.
"""
