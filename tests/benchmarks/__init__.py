"""Ratios against peers, alternating in one run: `make benchmark` prints the tables. Nothing here is a test; no time is asserted."""
