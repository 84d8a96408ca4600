"""`python -m perflib.notebook.server`: Voilà with locked doors, for the dashboard.

A page is an executed notebook, so whoever may open it has a process started. Each request must name this machine as its
host, come from no other site and know the token (JUPYTER_TOKEN) before that; a session has one kernel, its newest, and
there are at most MOST_KERNELS of them.
"""

from __future__ import annotations

import contextvars
from typing import Any, Final
from urllib.parse import urlsplit

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import HTTPError
from voila.app import Voila
from voila.handler import VoilaHandler
from voila.tornado.handler import TornadoVoilaHandler

MOST_KERNELS: Final = 4
IDLE_S: Final = 1800  # after which a kernel ends whose page is gone
_session: contextvars.ContextVar[str] = contextvars.ContextVar("session", default="")


class OneKernelEach(AsyncMappingKernelManager):  # type: ignore[misc]
    """Ends the kernel that a session has when it opens another page, and starts no more than a few."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.cull_idle_timeout, self.cull_connected = IDLE_S, False
        self._of_session: dict[str, str] = {}

    async def start_kernel(self, **options: Any) -> str:
        """Start a kernel for the session whose request is being answered. Raises HTTPError (503) for too many."""
        before = self._of_session.pop(_session.get(), None)
        if before is not None and before in self:
            await self.shutdown_kernel(before, now=True)
        if len(self.list_kernel_ids()) >= MOST_KERNELS:
            raise HTTPError(503, f"there are {MOST_KERNELS} open pages already: close one")
        started: str = await super().start_kernel(**options)
        self._of_session[_session.get()] = started
        return started


class Page(TornadoVoilaHandler):  # type: ignore[misc]
    """The page itself, whose request starts a kernel."""

    async def prepare(self) -> None:
        """Refuse what another site has a browser ask for. Then the host is checked, and then the token."""
        origin = self.request.headers.get("Origin")
        if self.request.headers.get("Sec-Fetch-Site", "none") in ("cross-site", "same-site"):
            raise HTTPError(403, "the request comes from another site")
        if origin and urlsplit(origin).netloc != self.request.host:
            raise HTTPError(403, "the request comes from another origin")
        await super().prepare()

    async def get(self, path: str | None = None) -> None:
        if self.current_user is not None:
            _session.set(str(self.current_user.username))
        await super().get(path)


class Locked(Voila):  # type: ignore[misc]
    """Voilà that asks for a token, and answers under the names of this machine only."""

    def init_settings(self) -> dict[str, Any]:
        self.auto_token = True
        self.voila_configuration.multi_kernel_manager_class = OneKernelEach
        settings: dict[str, Any] = super().init_settings()
        return {**settings, "allow_remote_access": False, "local_hostnames": ["localhost"]}

    def init_handlers(self) -> list[Any]:
        return [
            (pattern, Page if issubclass(handler, VoilaHandler) else handler, *rest)
            for pattern, handler, *rest in super().init_handlers()
        ]


def main() -> None:
    """Serve until interrupted. The options are Voilà's."""
    Locked.launch_instance()


if __name__ == "__main__":
    main()
