"""What a user starts: a run, an A/B, the search for a limit, and the pytest fixture."""
