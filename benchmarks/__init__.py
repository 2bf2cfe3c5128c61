"""Each figure of docs/performance.md is one command here: `python -m benchmarks.NAME`."""
