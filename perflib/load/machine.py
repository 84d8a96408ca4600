"""Checks whether this machine is fit to measure: cores, other load, other runs, descriptors, timers, loopback, CPU
frequency."""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from perflib.load.neighbours import running


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    found: str
    fit: bool
    advice: str = ""


def examine() -> list[Finding]:
    """Run all checks, which takes about two seconds."""
    return [_cores(), _load(), _runs(), _descriptors(), _timer(), _loopback(), _clock(), _governor()]


def _cores() -> Finding:
    cores = psutil.cpu_count() or 1
    return Finding(
        "cores",
        str(cores),
        cores >= 2,
        "" if cores >= 2 else "generator and target share one core: run them on two machines",
    )


def _load() -> Finding:
    before = psutil.cpu_times()
    busy = psutil.cpu_percent(interval=1.0)
    after = psutil.cpu_times()
    stolen = getattr(after, "steal", 0.0) - getattr(before, "steal", 0.0)
    fit = busy < 20 and stolen < 0.02
    return Finding(
        "other load",
        f"{busy:.0f} % busy, {stolen:.2f} s stolen in 1 s",
        fit,
        "" if fit else "stop other programs, or expect wide intervals",
    )


def _runs() -> Finding:
    others = running()
    found = ", ".join(others) or "none"
    return Finding("other runs", found, not others, "wait until they have ended" if others else "")


def _descriptors() -> Finding:
    if sys.platform == "win32":
        return Finding("descriptors", "no limit", True)
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return Finding(
        "descriptors",
        f"{limit:,}",
        limit >= 4096,
        "" if limit >= 4096 else "for more than a thousand connections: ulimit -n 65536",
    )


def _timer() -> Finding:
    late_us = []
    for _ in range(300):
        due = time.monotonic_ns() + 1_000_000
        time.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
        late_us.append((time.monotonic_ns() - due) / 1e3)
    late_us.sort()
    p50, p99 = late_us[150], late_us[297]
    return Finding(
        "timer",
        f"late by {p50:.0f} µs (p50), {p99:.0f} µs (p99)",
        p99 < 2000,
        "" if p99 < 2000 else "requests will be sent late, because the machine is busy or throttled",
    )


def _loopback() -> Finding:
    """Round trips of one byte on a loopback connection, for a third of a second."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        with far:
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            trips, began = 0, time.monotonic()
            while time.monotonic() - began < 0.33:
                near.send(b"x")
                far.recv(1)
                far.send(b"x")
                near.recv(1)
                trips += 1
    rate = trips / (time.monotonic() - began)
    fit = rate > 10_000
    return Finding(
        "loopback",
        f"{rate:,.0f} round trips per second",
        fit,
        "" if fit else "the network stack of this machine is slow and limits high rates",
    )


def _clock() -> Finding:
    resolution_ns = time.get_clock_info("monotonic").resolution * 1e9
    return Finding("clock", f"{resolution_ns:g} ns resolution", resolution_ns <= 1000)


def _governor() -> Finding:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    governor = path.read_text().strip() if path.exists() and os.access(path, os.R_OK) else "unknown"
    fit = governor not in ("powersave", "ondemand", "conservative")
    return Finding("frequency scaling", governor, fit, "" if fit else "cpupower frequency-set -g performance")
