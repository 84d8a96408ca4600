"""Figures with their intervals, from the rows of a run."""
