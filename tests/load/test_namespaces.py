"""Load from three distant machines with their own wires and clocks: network and time namespaces of this one."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import perflib
from tests.support.machines import Machine, machines, why_not
from tests.support.suites import suite

distributed = pytest.importorskip("distributed", reason='no Dask here: pip install "perflib-workbench[dask]"')
pytestmark = pytest.mark.skipif(bool(REASON := why_not()), reason=REASON)
SKEW_NS = 5_000_000
KINDS = ((3600, 2.0, 0.5), (-20, 5.0, 1.0), (86_400, 10.0, 2.0))  # (clock ahead, s; delay each way, ms; jitter, ms)


@dataclass
class Farm:
    """A service of ours, a scheduler, three machines with a Dask worker each, a client."""

    url: str
    machines: list[Machine]
    offsets_ns: dict[str, int]  # how far the clock of a machine really is ahead, by its address
    client: Any

    def suite(self, **keys: Any) -> perflib.Suite:
        made = suite({"kind": "http", "url": self.url}, load=keys.pop("load"))
        return replace(made, allow_hosts=(self.url.split("//")[1].split(":")[0],), **keys)

    def counted(self) -> int:
        with urllib.request.urlopen(f"{self.url}/counts", timeout=10) as answer:
            return int(json.load(answer)["total"])


@pytest.fixture
def farm() -> Iterator[Farm]:
    with contextlib.ExitStack() as stack:
        ours, made = stack.enter_context(machines(*KINDS))
        service = _start(stack, "perflib.service", "--http", "0", "--host", ours)
        assert service.stdout is not None
        url = service.stdout.readline().split()[-1]
        with socket.create_server((ours, 0)) as probe:
            address = f"tcp://{ours}:{probe.getsockname()[1]}"
        _start(
            stack,
            "distributed.cli.dask_scheduler",
            "--host",
            ours,
            "--port",
            address.rpartition(":")[2],
            "--no-dashboard",
        )
        offsets_ns = {}
        for machine in made:
            worker = machine.start(
                sys.executable,
                "-m",
                "distributed.cli.dask_worker",
                address,
                "--host",
                machine.address,
                "--nthreads",
                "2",
                "--no-nanny",
                "--no-dashboard",
            )
            stack.callback(_end, worker)
            offsets_ns[machine.address] = _offset_ns(worker.pid, machine.ahead_s)
        client = stack.enter_context(distributed.Client(address, timeout=30, direct_to_workers=True))
        client.wait_for_workers(len(made), timeout=60)
        yield Farm(url, made, offsets_ns, client)


def _start(stack: contextlib.ExitStack, module: str, *options: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait(10)


def _offset_ns(pid: int, ahead_s: int) -> int:
    """What the kernel says of a process's monotonic clock, once it is in its time namespace."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        fields = Path(f"/proc/{pid}/timens_offsets").read_text().split()
        offset_ns = int(fields[1]) * 1_000_000_000 + int(fields[2])
        if offset_ns == ahead_s * 1_000_000_000:
            return offset_ns
        time.sleep(0.02)
    raise AssertionError(f"the clock of {pid} is not {ahead_s} s ahead")


def test_far_machines_are_on_one_time_line_and_begin_together(farm: Farm, tmp_path: Path) -> None:
    load = {"model": "constant", "rate_per_s": 150, "duration_s": 4}
    run = perflib.run(farm.suite(load=load), data=tmp_path / "data", progress=False, client=farm.client)
    rows = run.rows(phase=None)
    assert len(rows) == 600 == farm.counted() and not rows["error"].notna().any()
    (entry,) = run.scenarios
    begins_ns, known_ns = [], []
    for clock in entry.record.clocks:
        address = clock.host.split("//")[1].split(":")[0]
        machine = next(m for m in farm.machines if m.address == address)
        error_ns = clock.offset_ns - farm.offsets_ns[address]
        assert abs(error_ns) <= clock.uncertainty_ns < 2 * (machine.delay_ms + machine.jitter_ms) * 1e6
        assert clock.uncertainty_ns >= (machine.delay_ms - machine.jitter_ms) * 1e6, "the delay is there"
        (worker,) = clock.workers
        own = rows[rows["worker"] == worker].sort_values("scheduled_ns")
        late_ns = int(own["start_ns"].iloc[0] - own["scheduled_ns"].iloc[0])
        begins_ns.append(late_ns + error_ns)  # the true moment: what was taken for ours is off by the clock's error
        known_ns.append(clock.uncertainty_ns)
        trip_ms = float((own["end_ns"] - own["start_ns"]).median()) / 1e6
        assert trip_ms >= 2 * (machine.delay_ms - machine.jitter_ms), "requests took the wire"
        print(
            f"{address}: error {error_ns / 1e6:+.3f} ms, known to ±{clock.uncertainty_ns / 1e6:.3f}, "
            f"first {late_ns / 1e6:.3f} ms late, trip {trip_ms:.1f} ms"
        )
    assert max(begins_ns) - min(begins_ns) <= SKEW_NS + max(known_ns)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patience_s", "away_s"),
    [pytest.param(3.0, 60, id="for good"), pytest.param(10.0, 6, id="until its lease is over")],
)
def test_a_machine_that_loses_its_network_is_named_and_the_others_go_on(
    patience_s: float, away_s: int, farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perflib.load import cluster

    monkeypatch.setattr(cluster, "PATIENCE_S", patience_s)
    over = threading.Event()
    cut = farm.machines[1]

    def lose() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and len(list(tmp_path.glob("data/runs/*/rows/*.parquet"))) < 3:
            time.sleep(0.05)
        cut.cut()
        over.wait(away_s)
        cut.mend()

    watching = threading.Thread(target=lose)
    watching.start()
    load = {"model": "constant", "rate_per_s": 90, "duration_s": 16}
    began = time.monotonic()
    run = perflib.run(
        farm.suite(load=load, on_lost="continue"), data=tmp_path / "data", progress=False, client=farm.client
    )
    over.set()
    watching.join()
    assert time.monotonic() - began < 60
    (entry,) = run.scenarios
    (missing,) = entry.record.missing
    lost, host = missing.worker, missing.host
    assert cut.address in host and 3 <= missing.after_s < 16 and missing.share == pytest.approx(1 / 3)
    assert (run.status, entry.record.status) == ("invalid", "partial")
    assert host in run.manifest.reasons[0] and "33 % of the load is missing" in run.manifest.reasons[0]
    assert [event.kind for event in run.manifest.events][:1] == ["lost"]
    made = run.rows(phase=None).groupby("worker").size()
    assert all(made[worker] == 480 for worker in range(3) if worker != lost), "the others made all of theirs"
    assert 30 <= made[lost] < 480, "what it made until then is kept"
