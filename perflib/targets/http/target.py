"""The target kind `http`."""

from __future__ import annotations

from typing import Any

from perflib.suite.environment import from_environment
from perflib.suite.operation import HttpOperation
from perflib.suite.target import HttpTargetSpec
from perflib.targets.base import Driver, Lane, TargetKind
from perflib.targets.connection import Address, check_url
from perflib.targets.http.lane import HttpLane, ParsedHead
from perflib.targets.http.reading import ReadingHttpLane
from perflib.targets.http.request import Request, compiled
from perflib.targets.template import check_path


class HttpTarget(TargetKind):
    """An HTTP/1.0 or 1.1 server."""

    spec: HttpTargetSpec

    def __init__(self, name: str, spec: HttpTargetSpec, *, folder: str = "") -> None:
        super().__init__(name, spec, folder=folder)
        where = f"targets.{name}"
        self.address = Address.of(spec, where)
        self.headers = {key: from_environment(value, f"{where}.headers.{key}") for key, value in spec.headers.items()}
        self.keep_alive, self.redirects = spec.keep_alive, spec.redirects
        self._reads = False
        self.parsed_heads: dict[bytes, ParsedHead] = {}  # shared by all lanes

    @classmethod
    def check(cls, name: str, spec: HttpTargetSpec, operations: list[HttpOperation]) -> None:
        check_url(name, spec)
        for operation in operations:
            where = f"operation {operation.name!r}"
            for path in (*operation.keep.values(), *((operation.expect.json or {}) if operation.expect else ())):
                check_path(path, where)

    def compile(self, operation: HttpOperation) -> Request:
        request = compiled(operation, self.headers, self.address, keep_alive=self.keep_alive)
        if operation.keep or operation.expect or request.head:
            self._reads = True
        return request

    def lane(self, driver: Driver, index: int) -> Lane:
        return (ReadingHttpLane if self._reads else HttpLane)(driver, index, self)

    def hosts(self) -> list[str]:
        return [self.address.host]

    def info(self) -> dict[str, Any]:
        return {"host": self.address.host, "port": self.address.port}
