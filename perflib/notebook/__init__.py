"""Interactive parts for Jupyter: the live panel, the explorer, the dashboard, the table of runs."""
