"""What to run: suites, scenarios, loads, operations, targets and objectives, read from TOML or made in Python."""
