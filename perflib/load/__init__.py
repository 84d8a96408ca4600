"""Puts the load on: a run while it is made, its workers, and how honest the load generator is about itself."""
