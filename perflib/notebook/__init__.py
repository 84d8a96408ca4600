"""What lives in a Jupyter kernel: the live panel, the explorer, the dashboard, the table of runs."""
