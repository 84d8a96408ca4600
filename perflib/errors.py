"""The exceptions of perflib. Each message says what is wrong, where, and how to fix it.

PerflibError            base class; `exit_code` is what the command line returns
├── SuiteError     (2)  a suite, an option or a parameter is wrong
├── RunError       (2)  a run directory can't be found or read
├── TargetError    (4)  a target did not start, or its data could not be prepared
└── ReportError    (4)  a notebook failed while a report was rendered
"""

from __future__ import annotations

EXIT_PASS, EXIT_FAIL, EXIT_BAD_INPUT, EXIT_INCONCLUSIVE, EXIT_INVALID, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130


def install(extra: str) -> str:
    """How to mend that an optional part is not installed: the command that installs it."""
    return f'pip install "perflib-workbench[{extra}]"'


class PerflibError(Exception):
    """One line: what is wrong, where, and how to fix it (`mend`).

    PerflibError("unknown key 'rate'", where="suite.toml: scenarios[0].load", mend="did you mean 'rate_per_s'?")
    """

    exit_code = EXIT_INVALID

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        line = f"{where}: {what}" if where else what
        plain = "".join(char if char.isprintable() else " " for char in (f"{line}; {mend}" if mend else line))
        super().__init__(" ".join(plain.split()))  # it may repeat what others said: no control characters


class SuiteError(PerflibError, ValueError):
    """A suite, an option or a parameter is wrong."""

    exit_code = EXIT_BAD_INPUT


class RunError(PerflibError):
    """A run directory can't be found or read."""

    exit_code = EXIT_BAD_INPUT


class TargetError(PerflibError):
    """A target did not start or answer, or a scenario's data could not be prepared."""

    exit_code = EXIT_INVALID


class ReportError(PerflibError):
    """A notebook failed while a report was rendered."""

    exit_code = EXIT_INVALID
