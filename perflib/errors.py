"""The exceptions of perflib. Each message says what is wrong, where, and how to fix it.

PerflibError            base class; `exit_code` is what the command line returns
├── SuiteError     (2)  a suite, an option or a parameter is wrong
├── RunError       (2)  a run directory can't be found or read
│   └── NoRunError      there is no run yet of the kind that is needed
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

    >>> str(PerflibError("unknown key 'rate'", where="suite.toml: load", mend="did you mean 'rate_per_s'?"))
    "suite.toml: load: unknown key 'rate'; did you mean 'rate_per_s'?"
    """

    exit_code = EXIT_INVALID

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        line = f"{where}: {what}" if where else what
        plain = "".join(char if char.isprintable() else " " for char in (f"{line}; {mend}" if mend else line))
        super().__init__(" ".join(plain.split()))  # it may repeat what others said: no control characters

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows in place of a traceback: the one line."""
        return [f"{type(self).__name__}: {self}"]


class SuiteError(PerflibError, ValueError):
    """A suite, an option or a parameter is wrong.

    >>> perflib.load_suite("dmo")
    Traceback (most recent call last):
    perflib.errors.SuiteError: dmo: no such suite; did you mean 'demo'?
    """

    exit_code = EXIT_BAD_INPUT


class RunError(PerflibError):
    """A run directory can't be found or read.

    >>> perflib.open_run("20200101-000000-shop")
    Traceback (most recent call last):
    perflib.errors.RunError: data/runs: no run '20200101-000000-shop'; list them: perflib runs
    """

    exit_code = EXIT_BAD_INPUT


class NoRunError(RunError):
    """There is no run yet of the kind that is needed; `mend` says which command makes one."""


class TargetError(PerflibError):
    """A target did not start or answer, or a scenario's data could not be prepared.

    >>> TargetError.exit_code
    4
    """

    exit_code = EXIT_INVALID


class ReportError(PerflibError):
    """A notebook failed while a report was rendered.

    >>> ReportError.exit_code
    4
    """

    exit_code = EXIT_INVALID
