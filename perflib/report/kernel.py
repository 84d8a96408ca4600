"""The Jupyter kernel that executes a notebook: it starts while other things go on, and ends while other things go on."""

from __future__ import annotations

from threading import Thread
from types import TracebackType
from typing import Any, Final

from jupyter_client.manager import KernelManager

ARGUMENTS: Final = (
    "--IPKernelApp.log_level=40",
    "--HistoryManager.hist_file=:memory:",  # as nbclient would have it
    "--IPKernelApp.exec_lines=import duckdb as _, scipy.special as _, perflib.report.pages.run as _, perflib.report.pages.comparison as _",  # what notebooks import
)


class Kernel(KernelManager):
    """A kernel that is starting, from now on.

    with Kernel() as kernel:
        ...                                                # it starts meanwhile
        papermill.execute_notebook(..., km=kernel)
    ...                                                    # it ends meanwhile; the process waits for that at its end
    """

    def __init__(self) -> None:
        # nbclient waits for answers in an event loop; to start and to end it is possible from any thread.
        super().__init__(kernel_name="python3", client_class="jupyter_client.asynchronous.AsyncKernelClient")
        self._clients: list[Any] = []
        self.start_kernel(extra_arguments=list(ARGUMENTS))

    def client(self, **given: Any) -> Any:
        self._clients.append(super().client(**given))
        return self._clients[-1]

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self._clients:
            self._clients.pop().stop_channels()
        if not self.shutting_down:
            self.shutting_down = True
            Thread(target=self.shutdown_kernel, kwargs={"now": kind is not None}).start()
