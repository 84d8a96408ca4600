"""Judgements of figures: verdicts, comparisons, the history, and what to do next."""
