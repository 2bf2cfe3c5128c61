"""
Each figure of docs/performance.md is one command here: `python -m benchmarks.NAME`.

A benchmark is a module with a `BENCHMARK` (`benchmarks.figures`): its metrics, and the contenders
that do the same work. `benchmarks.command.main(BENCHMARK)` gives it its command line, measures the
contenders in turns, and writes `build/benchmarks/NAME.json`. Its name in `benchmarks.__main__` puts
it into `make bench`.

A figure is a median over the rounds, with a ratio to another contender of the same run: machines
and their other load differ, ratios less so.
"""
