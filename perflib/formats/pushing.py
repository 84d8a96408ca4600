"""Metrics pushed to where production is watched: Prometheus remote write, and OTLP over HTTP, both as protobuf."""

from __future__ import annotations

import functools
import sys
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from perflib.errors import PerflibError, SuiteError, install
from perflib.formats import otlp
from perflib.suite.environment import from_environment
from perflib.suite.redaction import learn, struck_out
from perflib.targets.network import basic
from perflib.text import one_line

if TYPE_CHECKING:
    from prometheus_client import Metric

TIMEOUT_S: Final = 5.0
_JOB: Final = "perflib"
NO_HEADERS: Final[Mapping[str, str]] = {}


@dataclass
class Push:
    """Where to send metrics, and how. The first failure is a line on stderr, without the URL's secrets; the run goes
    on. `failed` counts them."""

    option: str
    url: str
    encode: Callable[[Iterable[Metric], str, int, int], bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    failed: int = 0

    def send(self, families: Sequence[Metric], run: str, started_ns: int, now_ns: int) -> None:
        """POST these metrics of a run that started at `started_ns`, since 1970."""
        body = self.encode(families, run, started_ns, now_ns)
        try:
            request = urllib.request.Request(self.url, data=body, headers=dict(self.headers))
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):
                pass
        except (OSError, ValueError) as error:
            self.failed += 1
            if self.failed == 1:
                said = getattr(error, "code", None) or getattr(error, "reason", None) or error
                print(f"perflib: {self.option}: {one_line(struck_out(str(said)), 200)}", file=sys.stderr)


def pushes(remote_write: str | None, otlp_url: str | None, headers: Mapping[str, str] = NO_HEADERS) -> list[Push]:
    """What is to be pushed: to the URL of a remote write, of an OTLP collector; ${NAME} is read from the environment.

    headers: further ones of each request. Raises SuiteError for what is no URL, PerflibError without the packages of
    the extra.
    """
    more = {name: from_environment(value, "--push-header") for name, value in headers.items()}
    found = []
    if remote_write is not None:
        usual = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        url, own = _address(remote_write, "--remote-write")
        _write_request()
        found.append(Push("--remote-write", url, _remote_write, usual | own | more))
    if otlp_url is not None:
        url, own = _address(otlp_url, "--otlp")
        if urlsplit(url).path in ("", "/"):
            url = f"{url.rstrip('/')}/v1/metrics"
        otlp.messages()
        found.append(Push("--otlp", url, _otlp, {"Content-Type": "application/x-protobuf"} | own | more))
    return found


def _address(text: str, where: str) -> tuple[str, dict[str, str]]:
    """The URL without user and password, and the header that has them instead."""
    learn({"url": text})
    url = from_environment(text, where)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SuiteError("that is no URL", where=where, mend="write http://host:port/path")
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    authorization = basic(parts)
    return bare, {"Authorization": authorization} if authorization else {}


def _otlp(families: Iterable[Metric], run: str, started_ns: int, now_ns: int) -> bytes:
    resource = {"service.name": _JOB, "service.instance.id": run}
    return bytes(otlp.request(families, resource, started_ns, now_ns).SerializeToString())


def _remote_write(families: Iterable[Metric], run: str, started_ns: int, now_ns: int) -> bytes:
    """A WriteRequest, compressed with Snappy. The labels of each series stand in order."""
    import pyarrow as pa

    message = _write_request()()
    for family in families:
        for sample in family.samples:
            labels = {"__name__": sample.name, "job": _JOB, "instance": run, **sample.labels}
            series = message.timeseries.add()
            for name, value in sorted(labels.items()):
                series.labels.add(name=name, value=value)
            series.samples.add(value=float(sample.value), timestamp=now_ns // 1_000_000)
    return bytes(pa.compress(message.SerializeToString(), codec="snappy", asbytes=True))


@functools.cache
def _write_request() -> Any:
    """The message of Prometheus' remote write, version 1: timeseries, each with labels and samples."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError:
        mend = install("prometheus")
        raise PerflibError("it needs the package protobuf", where="--remote-write", mend=mend) from None
    of = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="perflib/remote_write.proto", package="prometheus", syntax="proto3")
    for message, fields in {
        "Label": (("name", of.TYPE_STRING, ""), ("value", of.TYPE_STRING, "")),
        "Sample": (("value", of.TYPE_DOUBLE, ""), ("timestamp", of.TYPE_INT64, "")),
        "TimeSeries": (("labels", of.TYPE_MESSAGE, "Label"), ("samples", of.TYPE_MESSAGE, "Sample")),
        "WriteRequest": (("timeseries", of.TYPE_MESSAGE, "TimeSeries"),),
    }.items():
        made = file.message_type.add(name=message)
        for number, (name, kind, inner) in enumerate(fields, 1):
            label = of.LABEL_REPEATED if inner else of.LABEL_OPTIONAL
            more = {"type_name": f".prometheus.{inner}"} if inner else {}
            made.field.add(name=name, number=number, type=kind, label=label, **more)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("prometheus.WriteRequest"))
