"""The operations of the service, as methods that take and return plain data. REST and MCP add no logic."""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError, validate_call

from perflib.service.database import Database
from perflib.service.options import Options
from perflib.service.rules import Findings, apply, check

DOCUMENTS: Final = Path(__file__).parent / "documents"
LARGEST_BYTES: Final = 2_000_000
STATUSES: Final = ("validated", "approved", "rejected", "enhanced")


class ServiceError(Exception):
    """A refusal with its reason. code: "not_found", "conflict", "bad_request", "injected"."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Service:
    """Service(Options()).validate_content("# Hello"); close() at the end. Safe from many threads."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._folder = None if self.options.database else Path(tempfile.mkdtemp(prefix="perflib-service-"))
        self._database = Database(Path(self.options.database or f"{self._folder}/service.db"), self.options.pool)
        self._rules = ThreadPoolExecutor(self.options.parallel) if self.options.parallel else None
        self._cache: OrderedDict[str, Findings] = OrderedDict()
        self._lock, self._random = threading.Lock(), random.Random(self.options.seed)
        self._leaked: list[bytearray] = []
        self._started = time.monotonic()
        self.counts: Counter[str] = Counter()

    def close(self) -> None:
        """Close the database; a temporary one is deleted."""
        if self._rules:
            self._rules.shutdown()
        self._database.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, interface: str, operation: str, arguments: dict[str, Any]) -> Any:
        """Handle one request of an interface ("direct", "rest" or "mcp"): count it, and apply the injected faults.

        Raises ServiceError.
        """
        with self._lock:
            self.counts[f"{interface}:{operation}"] += 1
            self.counts["total"] += 1
            fails = bool(self.options.error_rate) and self._random.random() < self.options.error_rate
            self.counts["injected"] += fails
            if self.options.leak_bytes_per_request:
                self._leaked.append(bytearray(b"\x01" * self.options.leak_bytes_per_request))
        self._delay()
        if fails:
            raise ServiceError("injected", "an error was asked for")
        if operation not in OPERATIONS:
            raise ServiceError("not_found", f"no operation {operation!r}")
        try:
            return OPERATIONS[operation](self, **arguments)
        except ValidationError as error:
            first = error.errors()[0]
            raise ServiceError("bad_request", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    def _delay(self) -> None:
        """Wait for the extra time of every request, and for the end of a stall in progress."""
        options, age_s = self.options, time.monotonic() - self._started
        delay_s = options.latency_s
        if options.stall_s and age_s >= options.stall_after_s:
            delay_s += max(0.0, options.stall_after_s + options.stall_s - age_s)
        if delay_s > 0:
            time.sleep(delay_s)

    def ping(self) -> dict[str, Any]:
        """Answer, and do nothing else."""
        return {"ok": True}

    def validate_file(self, path: str) -> dict[str, Any]:
        """Validate one of the service's documents."""
        file = (DOCUMENTS / path).resolve()
        if not file.is_relative_to(DOCUMENTS.resolve()):
            raise ServiceError("bad_request", "the path leaves the documents' folder")
        if not file.is_file():
            raise ServiceError("not_found", f"no document {path!r}")
        return self._validate(path, file.read_text("utf-8"))

    def validate_content(self, text: str) -> dict[str, Any]:
        """Validate a Markdown text."""
        return self._validate("content", text)

    def approve(self, validation_id: int) -> dict[str, Any]:
        """Approve a validation. Refused unless its status is `validated`."""
        self._move([validation_id], "validated", "approved", "approve")
        return {"id": validation_id, "status": "approved"}

    def reject(self, validation_id: int, reason: str) -> dict[str, Any]:
        """Reject a validation, with a reason. Refused unless its status is `validated`."""
        self._move([validation_id], "validated", "rejected", "reject", reason=reason)
        return {"id": validation_id, "status": "rejected", "reason": reason}

    def enhance(self, validation_ids: list[int]) -> dict[str, Any]:
        """Apply the recommendations of approved validations; of none if one is not approved."""
        if not validation_ids:
            raise ServiceError("bad_request", "no validation named")
        texts, applied = {}, 0
        for number in validation_ids:
            self.get_validation(number)
            texts[number], done = apply(self._database.texts(number)["content"], self._database.recommendations(number))
            applied += done
        self._move(validation_ids, "approved", "enhanced", "enhance", texts=texts)
        return {"enhanced": validation_ids, "applied": applied, "status": "enhanced"}

    def get_validation(self, id: int) -> dict[str, Any]:
        """One validation."""
        found = self._database.get(id)
        if found is None:
            raise ServiceError("not_found", f"no validation {id}")
        return found

    def list_validations(self, limit: int = 20, status: str | None = None) -> dict[str, Any]:
        """The newest validations, of one status or of all."""
        if status is not None and status not in STATUSES:
            raise ServiceError("bad_request", f"no status {status!r}: it is one of {', '.join(STATUSES)}")
        if not 1 <= limit <= 1000:
            raise ServiceError("bad_request", "limit goes from 1 to 1000")
        return {"validations": self._database.latest(limit, status)}

    def get_recommendations(self, validation_id: int) -> dict[str, Any]:
        """The recommendations of one validation."""
        self.get_validation(validation_id)
        return {"id": validation_id, "recommendations": self._database.recommendations(validation_id)}

    def get_stats(self) -> dict[str, Any]:
        """The number of validations by status."""
        by_status = self._database.counters()
        return {"total": sum(by_status.values()), "by_status": by_status}

    def _validate(self, source: str, text: str) -> dict[str, Any]:
        if len(text) > LARGEST_BYTES:
            raise ServiceError("bad_request", f"the document is longer than {LARGEST_BYTES:,} characters")
        text = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be stored
        findings = self._checked(text)
        number = self._database.add(source, text, findings.score, findings.recommendations)
        by_severity = Counter(r["severity"] for r in findings.recommendations)
        return {
            "id": number,
            "status": "validated",
            "source": source,
            "score": findings.score,
            "recommendations": dict(by_severity),
        }

    def _checked(self, text: str) -> Findings:
        """The findings, from the cache if the same text was checked before."""
        if not self.options.cache:
            return check(text, self._rules)
        key = hashlib.sha256(text.encode()).hexdigest()
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        findings = check(text, self._rules)
        with self._lock:
            self._cache[key] = findings
            while len(self._cache) > self.options.cache:
                self._cache.popitem(last=False)
        return findings

    def _move(self, numbers: list[int], before: str, after: str, verb: str, **extra: Any) -> None:
        for wrong in self._database.move(numbers, before, after, **extra):
            if wrong["status"] is None:
                raise ServiceError("not_found", f"no validation {wrong['id']}")
            why = f": {wrong['reason']}" if wrong["status"] == "rejected" and wrong["reason"] else ""
            raise ServiceError(
                "conflict", f"cannot {verb} validation {wrong['id']}: it is {wrong['status']}{why}, not {before}"
            )


# All interfaces take the operations, their parameters and types from here.
OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    operation.__name__: validate_call(operation)
    for operation in (
        Service.ping, Service.validate_file, Service.validate_content, Service.approve, Service.reject, Service.enhance,
        Service.get_validation, Service.list_validations, Service.get_recommendations, Service.get_stats,
    )
}  # fmt: skip
