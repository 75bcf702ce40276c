"""Benchmarks against peers, run by hand: `python -m tests.benchmarks`. Nothing here is asserted by the test suite."""
