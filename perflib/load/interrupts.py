"""SIGTERM, SIGHUP and SIGQUIT end what runs as Ctrl-C does: by an exception in the main thread. Rows are kept."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

SIGNALS: Final = tuple(
    number for name in ("SIGTERM", "SIGHUP", "SIGQUIT") if (number := getattr(signal, name, None)) is not None
)


class Interrupted(KeyboardInterrupt):
    """This process was asked to end, by a signal that is not SIGINT."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(interrupt: BaseException | None) -> int:
    """The exit code of a process that an interrupt ended: 128 + the number of the signal."""
    return 128 + (interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise Interrupted for signals that would otherwise end this process at once. Only the main thread can do so."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    defaults = {number: interrupt for number in SIGNALS if _is(number, signal.SIG_DFL)}
    with _handled(defaults):
        yield


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """Ignore interrupts while the last files are written and targets are stopped, which takes seconds at most."""
    with _handled(dict.fromkeys((*SIGNALS, signal.SIGINT), signal.SIG_IGN)):
        yield


@contextlib.contextmanager
def _handled(handlers: dict[Any, Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in handlers}
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # else it was set by another language, and cannot be set again
                signal.signal(number, handler)


def _is(number: int, handler: Any) -> bool:
    return signal.getsignal(number) is handler
