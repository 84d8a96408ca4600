"""Generates the load: one run from start to end, its worker processes, and checks of the load generator."""
