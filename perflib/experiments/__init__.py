"""The experiments that a user starts: a run, an A/B test, the search for a limit, and the pytest fixture."""
