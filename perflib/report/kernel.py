"""The Jupyter kernel that executes a notebook: it starts, and ends, while other things go on."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Final

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

# What notebooks import: while it is imported, the command that started the kernel computes.
IMPORTED: Final = ("duckdb", "scipy.special", "jinja2", "perflib.report.sections")
ARGUMENTS: Final = (
    "--IPKernelApp.log_level=40",
    "--IPKernelApp.ignore_cwd=True",
    "--HistoryManager.hist_file=:memory:",  # as nbclient would have it
    f"--IPKernelApp.exec_lines=import {', '.join(f'{module} as _' for module in IMPORTED)}",
)


class Kernel(KernelManager):
    """A kernel of this very interpreter, which starts at once; other kernels named python3 are passed over.

    with Kernel() as kernel:
        ...                                                # it starts meanwhile
        papermill.execute_notebook(..., km=kernel)
    ...                                                    # it ends meanwhile; the process waits for that at its end
    """

    def __init__(self) -> None:
        from ipykernel.kernelspec import get_kernel_dict

        # Sockets in a private folder: a port that was free a moment ago may be another's when the kernel binds it.
        self._sockets = tempfile.mkdtemp(prefix="perflib-kernel-")
        # nbclient waits for answers in an event loop; to start and to end it is possible from any thread.
        super().__init__(
            kernel_name="python3",
            client_class="jupyter_client.asynchronous.AsyncKernelClient",
            transport="tcp" if sys.platform == "win32" else "ipc",
            connection_file=str(Path(self._sockets, "kernel.json")),
        )
        # Modules are not imported from the working directory, where a file may have the name of one of ours.
        self._kernel_spec = KernelSpec(**get_kernel_dict(python_arguments=["-P"]))
        self._clients: list[Any] = []
        self.start_kernel(extra_arguments=list(ARGUMENTS))

    def client(self, **options: Any) -> Any:
        self._clients.append(super().client(**options))
        return self._clients[-1]

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self._clients:
            self._clients.pop().stop_channels()
        if not self.shutting_down:
            self.shutting_down = True
            Thread(target=self._end, args=(kind is not None,)).start()

    def _end(self, now: bool) -> None:
        self.shutdown_kernel(now=now)
        shutil.rmtree(self._sockets, ignore_errors=True)
