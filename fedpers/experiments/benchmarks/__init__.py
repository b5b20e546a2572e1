"""Benchmarks: ours beside other frameworks and beside the limit, interleaved in one run, as ratios."""
