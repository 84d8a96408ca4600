"""Results of other tools in (`perflib import`), and figures for other tools out (`perflib export`).

Each format is one module with a `Format` or with one function that writes; `registry.py` lists them.
"""
