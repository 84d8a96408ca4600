"""One function per figure. Each takes a Recording and a scenario's name, and returns a matplotlib Figure whose title
says what it shows. Instead of a run, rows in a DataFrame do. docs/charts.md has a picture of each.

perflib.charts.latency_percentiles(run, "api_response_times")
perflib.charts.response_over_time(run, "api_response_times", operation="list")
perflib.charts.throughput(rows)                    # a DataFrame, as run.rows("browse")
perflib.charts.shift_function(compared, part)      # of a Comparison
"""

from perflib.charts.capacity import capacity_scaling, capacity_throughput, capacity_times
from perflib.charts.comparison import ecdf, forest, shift_function, two_distributions
from perflib.charts.distributions import breakdown, latency_percentiles, paired_differences, response_by_inflight
from perflib.charts.history import history
from perflib.charts.overhead import ladder, ladder_parts
from perflib.charts.overview import overview
from perflib.charts.resources import cpu, gauges, memory
from perflib.charts.timelines import errors_over_time, inflight, response_over_time, throughput
from perflib.charts.together import scenarios_together

__all__ = [
    "breakdown",
    "capacity_scaling",
    "capacity_throughput",
    "capacity_times",
    "cpu",
    "ecdf",
    "errors_over_time",
    "forest",
    "gauges",
    "history",
    "inflight",
    "ladder",
    "ladder_parts",
    "latency_percentiles",
    "memory",
    "overview",
    "paired_differences",
    "response_by_inflight",
    "response_over_time",
    "scenarios_together",
    "shift_function",
    "throughput",
    "two_distributions",
]
