"""Machines on this one: network namespaces on a bridge, each with its own clock and a wire that delays every frame.

A wire is two tap devices and a process that copies frames from one to the other, in order, so that it needs no
`sch_netem`: `python -m tests.support.machines TAP TAP DELAY_MS JITTER_MS SEED`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
FRAME = 2048  # bytes, more than the MTU


def ip(*words: str, check: bool = True) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=check, timeout=20).stdout


def why_not() -> str:
    """Why machines cannot be made here, or ""."""
    if os.name != "posix" or os.geteuid() != 0:
        return "network namespaces need root"
    if not (shutil.which("ip") and shutil.which("unshare")):
        return "iproute2 or unshare is not here"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun"
    name = f"pf{os.getpid()}try"
    try:
        ip("netns", "add", name)
        ip("netns", "exec", name, "unshare", "--time", "--monotonic", "1", "true")
    except (OSError, subprocess.SubprocessError) as error:
        return f"network or time namespaces are not permitted: {error}"
    finally:
        ip("netns", "del", name, check=False)
    return ""


@dataclass
class Machine:
    """A network namespace with an address.

    ahead_s     how far its clock is ahead of ours
    delay_ms    how long its wire delays frames in each direction, ± jitter_ms
    """

    name: str
    address: str
    ahead_s: int
    delay_ms: float
    jitter_ms: float
    wire: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A process on that machine."""
        before = ["ip", "netns", "exec", self.name, "unshare", "--time", "--monotonic", str(self.ahead_s)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen([*before, *command], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def cut(self) -> None:
        """Take it from the network."""
        ip("link", "set", f"{self.name}r", "down")

    def mend(self) -> None:
        ip("link", "set", f"{self.name}r", "up")


@contextlib.contextmanager
def machines(*kinds: tuple[int, float, float]) -> Iterator[tuple[str, list[Machine]]]:
    """Start a machine for each (ahead_s, delay_ms, jitter_ms); all that runs on them ends with the block.

    Yields our own address on their network, and the machines.
    """
    short, net = f"pf{os.getpid() % 100_000}", f"10.213.{os.getpid() % 250}"
    made = [Machine(f"{short}m{n}", f"{net}.{n + 10}", *kind) for n, kind in enumerate(kinds)]
    try:
        ip("link", "add", f"{short}br", "type", "bridge")
        ip("addr", "add", f"{net}.1/24", "dev", f"{short}br")
        ip("link", "set", f"{short}br", "up")
        for machine in made:
            _connect(machine, f"{short}br")
        yield f"{net}.1", made
    finally:
        for machine in made:
            for pid in ip("netns", "pids", machine.name, check=False).split():
                with contextlib.suppress(psutil.Error):
                    psutil.Process(int(pid)).kill()
            if machine.wire is not None:
                machine.wire.kill()
                machine.wire.wait()
            ip("netns", "del", machine.name, check=False)
        ip("link", "del", f"{short}br", check=False)


def _connect(machine: Machine, bridge: str) -> None:
    here, there = f"{machine.name}r", f"{machine.name}n"
    ip("netns", "add", machine.name)
    command = [
        sys.executable,
        "-m",
        "tests.support.machines",
        here,
        there,
        str(machine.delay_ms),
        str(machine.jitter_ms),
        machine.address.rpartition(".")[2],
    ]
    machine.wire = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert machine.wire.stdout is not None and machine.wire.stdout.readline()
    ip("link", "set", here, "master", bridge)
    ip("link", "set", here, "up")
    ip("link", "set", there, "netns", machine.name)
    ip("-n", machine.name, "addr", "add", f"{machine.address}/24", "dev", there)
    for device in (there, "lo"):
        ip("-n", machine.name, "link", "set", device, "up")


def _tap(name: str) -> int:
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return file


def wire(ends: tuple[int, int], delay_ms: float, jitter_ms: float, seed: int) -> None:
    """Hand on each frame after its delay, evenly drawn; none overtakes another."""
    drawn = random.Random(seed)
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    waiting: dict[int, deque[tuple[float, bytes]]] = {end: deque() for end in ends}  # (due, frame), by where it goes
    while True:
        dues = [frames[0][0] for frames in waiting.values() if frames]
        ready, _, _ = select.select(ends, [], [], max(0.0, min(dues) - time.monotonic()) if dues else None)
        for end in ready:
            with contextlib.suppress(OSError):
                while frame := os.read(end, FRAME):
                    frames = waiting[other[end]]
                    due = time.monotonic() + (delay_ms + drawn.uniform(-jitter_ms, jitter_ms)) / 1e3
                    frames.append((max(due, frames[-1][0]) if frames else due, frame))
        for end, frames in waiting.items():
            while frames and frames[0][0] <= time.monotonic():
                with contextlib.suppress(OSError):  # the other end is down
                    os.write(end, frames.popleft()[1])


def main() -> None:
    one, other, delay_ms, jitter_ms, seed = sys.argv[1:]
    ends = (_tap(one), _tap(other))
    print("ready", flush=True)
    wire(ends, float(delay_ms), float(jitter_ms), int(seed))


if __name__ == "__main__":
    main()
