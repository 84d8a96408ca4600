"""Metrics as OpenTelemetry's OTLP has them, made of the families of prometheus_client."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from perflib.errors import PerflibError, install

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.samples import Sample

Labels = tuple[tuple[str, str], ...]


def messages() -> tuple[Any, Any]:
    """The modules of OTLP's messages: of the collector's metrics service, and of metrics. Raises PerflibError."""
    try:
        from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
        from opentelemetry.proto.metrics.v1 import metrics_pb2
    except ImportError:
        mend = install("prometheus")
        raise PerflibError("OTLP needs the package opentelemetry-proto", where="otlp", mend=mend) from None
    return metrics_service_pb2, metrics_pb2


def request(families: Iterable[Metric], resource: Mapping[str, str], started_ns: int, now_ns: int) -> Any:
    """An ExportMetricsServiceRequest. Counters and histograms are cumulative since `started_ns`, ns since 1970."""
    service, metrics = messages()
    message = service.ExportMetricsServiceRequest()
    of_resource = message.resource_metrics.add()
    for key, value in resource.items():
        of_resource.resource.attributes.add(key=key).value.string_value = value
    scope = of_resource.scope_metrics.add()
    scope.scope.name = "perflib"
    for family in families:
        metric = scope.metrics.add(name=family.name, description=family.documentation, unit=_unit(family))
        if family.type == "counter":
            metric.sum.is_monotonic = True
            metric.sum.aggregation_temporality = metrics.AGGREGATION_TEMPORALITY_CUMULATIVE
            _add_numbers(metric.sum, family, started_ns, now_ns)
        elif family.type == "histogram":
            metric.histogram.aggregation_temporality = metrics.AGGREGATION_TEMPORALITY_CUMULATIVE
            for labels, group in _grouped(family):
                _add_histogram(metric.histogram, labels, list(group), started_ns, now_ns)
        else:
            _add_numbers(metric.gauge, family, started_ns, now_ns)
    return message


def _unit(family: Metric) -> str:
    return {"seconds": "s", "bytes": "By"}.get(family.unit, family.unit)


def _add_numbers(to: Any, family: Metric, started_ns: int, now_ns: int) -> None:
    for sample in family.samples:
        point = to.data_points.add(start_time_unix_nano=started_ns, time_unix_nano=now_ns, as_double=sample.value)
        _add_labels(point, tuple(sample.labels.items()))


def _add_histogram(to: Any, labels: Labels, samples: list[Sample], started_ns: int, now_ns: int) -> None:
    point = to.data_points.add(start_time_unix_nano=started_ns, time_unix_nano=now_ns)
    _add_labels(point, labels)
    up_to = sorted((float(s.labels["le"]), int(s.value)) for s in samples if s.name.endswith("_bucket"))
    point.explicit_bounds.extend(edge for edge, _ in up_to if math.isfinite(edge))
    point.bucket_counts.extend(after - before for before, after in itertools.pairwise([0, *(n for _, n in up_to)]))
    point.count = up_to[-1][1]
    point.sum = next((float(s.value) for s in samples if s.name.endswith("_sum")), 0.0)


def _add_labels(point: Any, labels: Labels) -> None:
    for key, value in labels:
        point.attributes.add(key=key).value.string_value = value


def _grouped(family: Metric) -> Iterator[tuple[Labels, Iterator[Sample]]]:
    """The samples of each of a histogram's series, which stand together."""
    return itertools.groupby(
        family.samples, lambda sample: tuple((key, value) for key, value in sample.labels.items() if key != "le")
    )
