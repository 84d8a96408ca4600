"""The HTML of each page: what the cells of the notebooks show."""
