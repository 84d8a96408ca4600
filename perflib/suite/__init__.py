"""What to run: suites, scenarios, loads, operations, targets and objectives, read from TOML or written in Python."""
