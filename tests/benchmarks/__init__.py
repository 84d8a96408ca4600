"""Benchmarks against other tools, in turn within one run: `make benchmark` prints tables of ratios.

Only test_*.py are tests; no test asserts a time.
"""
