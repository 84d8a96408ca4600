"""When requests start: one class for each load model, created by Load(model=…).

    Load(model="closed", concurrency=10, duration_s=20, think_time_s=0.5)    # or requests=1000
    Load(model="users", stages=[UserStage(users=50, over_s=30)])             # a number of users that rises and falls
    Load(model="constant", rate_per_s=500, duration_s=20)                    # evenly spaced; "poisson": random
    Load(model="ramp", from_per_s=10, to_per_s=500, duration_s=60)           # TOML also: from = 10, to = 500
    Load(model="stages", stages=[Load(...), Load(...)])                      # one after the other
    Load(model="spike", rate_per_s=50, spike_rate_per_s=500, spike_at_s=10, spike_s=2, duration_s=30)
    Load(model="steps", from_per_s=100, to_per_s=1000, step_per_s=100, step_s=10)   # until an objective breaks
    Load(model="replay", starts="starts.csv", speed=2)                       # seconds since the start, one per line

The comment behind each field is its description in docs/suite.md (`python -m tools.reference` writes them there).
"""

from __future__ import annotations

from perflib.suite.load.base import STEADY, Load, opening_s
from perflib.suite.load.closed import ClosedLoad, UsersLoad, UserStage
from perflib.suite.load.open import (
    ConstantLoad,
    PoissonLoad,
    RampLoad,
    ReplayLoad,
    SpikeLoad,
    StagesLoad,
    StepsLoad,
)
from perflib.suite.messages import TABLES

__all__ = [
    "STEADY",
    "ClosedLoad",
    "ConstantLoad",
    "Load",
    "PoissonLoad",
    "RampLoad",
    "ReplayLoad",
    "SpikeLoad",
    "StagesLoad",
    "StepsLoad",
    "UserStage",
    "UsersLoad",
    "opening_s",
]

TABLES.update({"load": Load, "stages": Load})
