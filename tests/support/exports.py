"""Files as other tools write them, with the same few requests, for tests of the import."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

START_MS = 1_796_059_270_000
K6_TAGS = (
    "check", "error", "error_code", "expected_response", "group", "method", "name", "proto", "scenario", "service",
    "status", "subproto", "tls_version", "url", "extra_tags", "metadata",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """One request: when it was sent and how long it took, in ms, and the status of its answer (0: none came)."""

    at_ms: int
    took_ms: float
    name: str = "list"
    status: int = 200


REQUESTS = [
    Request(7 * i, 20.0 + (i * 37) % 50, "list" if i % 2 else "buy", 503 if i % 25 == 3 else 200) for i in range(300)
]


def k6_csv(requests: Sequence[Request] = REQUESTS, columns: int = 19, per_s: int = 1) -> str:
    """k6's lines; `columns`: 16, 18 or 19, as older and newer versions have; `per_s`: in what times are counted."""
    left_out = {16: ("expected_response", "service", "metadata"), 18: ("metadata",), 19: ()}[columns]
    tags = [tag for tag in K6_TAGS if tag not in left_out]
    lines = [",".join(("metric_name", "timestamp", "metric_value", *tags))]
    for each in requests:
        end = int((START_MS + each.at_ms + each.took_ms) * per_s // 1000)
        has = {"method": "GET", "name": each.name, "scenario": "default", "status": str(each.status)}
        rest = ",".join(has.get(tag, "") for tag in tags)
        values = _k6_values(each, with_failed=columns > 16)
        lines += [f"{metric},{end},{value:.6f},{rest}" for metric, value in values.items()]
    return "\n".join([*lines, f"vus,{START_MS // 1000},4.000000{',' * len(tags)}", ""])


def k6_json(requests: Sequence[Request] = REQUESTS) -> str:
    lines: list[object] = [{"metric": "http_reqs", "type": "Metric", "data": {"name": "http_reqs", "type": "counter"}}]
    for each in requests:
        end_ms = START_MS + each.at_ms + each.took_ms
        time = f"2026-11-30T{_clock(end_ms)}Z"
        tags = {"method": "GET", "name": each.name, "scenario": "default", "status": str(each.status)}
        for metric, value in _k6_values(each).items():
            lines.append({"metric": metric, "type": "Point", "data": {"time": time, "value": value, "tags": tags}})
    return "".join(json.dumps(line) + "\n" for line in lines)


def _k6_values(each: Request, with_failed: bool = True) -> dict[str, float]:
    rest = {"http_req_failed": float(each.status != 200)} if with_failed else {}
    return {
        "http_reqs": 1.0, "http_req_duration": each.took_ms, "http_req_blocked": 0.01, "http_req_connecting": 0.0,
        "http_req_tls_handshaking": 0.0, "http_req_sending": 0.5, "http_req_waiting": each.took_ms - 1,
        "http_req_receiving": 0.5, **rest,
    }  # fmt: skip


def _clock(ms: float) -> str:
    """The time of the day, in UTC."""
    seconds = ms / 1000 % 86_400
    return f"{int(seconds // 3600):02}:{int(seconds // 60 % 60):02}:{seconds % 60:09.6f}"


def jtl(requests: Sequence[Request] = REQUESTS, *, header: bool = True, dates: bool = False) -> str:
    names = (
        "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,"
        "sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect"
    )
    lines = [names] if header else []
    for each in requests:
        at = START_MS + each.at_ms
        stamp = f"2026-11-30 {_clock(at)[:12]}" if dates else str(at)
        good, code = each.status == 200, each.status or "Non HTTP response code: java.net.SocketTimeoutException"
        lines.append(
            f'{stamp},{each.took_ms:.0f},{each.name},{code},"a message\nof ""two"" lines",Users 1-1,text,'
            f"{str(good).lower()},,120,80,4,4,http://127.0.0.1/{each.name},{each.took_ms - 1:.0f},0,1"
        )
    return "\n".join([*lines, ""])


def jtl_xml(requests: Sequence[Request] = REQUESTS) -> str:
    samples = (
        f'<httpSample t="{each.took_ms:.0f}" lt="{each.took_ms - 1:.0f}" ts="{START_MS + each.at_ms}" '
        f's="{str(each.status == 200).lower()}" lb="{each.name}" rc="{each.status}" rm="OK" tn="Users 1-1" by="120">'
        '<httpSample t="1" ts="1796059270000" s="true" lb="part" rc="200"/></httpSample>\n'
        for each in requests
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testResults version="1.2">\n{"".join(samples)}</testResults>\n'


def locust(requests: Sequence[Request] = REQUESTS) -> str:
    lines = ["timestamp,request_type,name,response_time_ms,response_length,status_code,exception"]
    for each in requests:
        error = "" if each.status == 200 else '"HTTPError(\'503, ""busy""\')"'
        at_s = (START_MS + each.at_ms) / 1000
        lines.append(f"{at_s},GET,{each.name},{each.took_ms:.2f},100,{each.status},{error}")
    return "\r\n".join([*lines, ""])


def vegeta_csv(requests: Sequence[Request] = REQUESTS, columns: int = 12) -> str:
    lines = []
    for seq, each in enumerate(requests):
        error = "" if each.status == 200 else "503 Service Unavailable"
        fields = [
            f"{START_MS + each.at_ms}000000", each.status, round(each.took_ms * 1e6), 0, 100, error, "eA==", "", seq,
            "GET", f"http://127.0.0.1:80/{each.name}?q=1", "SGVhZA==",
        ]  # fmt: skip
        lines.append(",".join(map(str, fields[:columns])))
    return "\n".join([*lines, ""])


def vegeta_json(requests: Sequence[Request] = REQUESTS) -> str:
    return "".join(
        json.dumps({
            "attack": "", "seq": seq, "code": each.status,
            "timestamp": f"2026-11-30T{_clock(START_MS + each.at_ms)}+00:00",
            "latency": round(each.took_ms * 1e6), "bytes_out": 0, "bytes_in": 100,
            "error": "" if each.status == 200 else "503 Service Unavailable", "body": "eA==", "method": "GET",
            "url": f"http://127.0.0.1:80/{each.name}", "headers": {"A": ["b"]},
        }) + "\n"
        for seq, each in enumerate(requests)
    )  # fmt: skip


def oha(requests: Sequence[Request] = REQUESTS) -> str:
    lines = ["request-start,DNS,DNS+dialup,Response-delay,request-duration,bytes,status"]
    lines += [
        f"{each.at_ms / 1e3},0,0.0001,{(each.took_ms - 1) / 1e3:.6f},{each.took_ms / 1e3:.6f},100,{each.status}"
        for each in requests
    ]
    return "\n".join([*lines, ""])


def hey(requests: Sequence[Request] = REQUESTS, *, older: bool = False) -> str:
    names = "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read"
    lines = [names if older else f"{names},status-code,offset"]
    for each in requests:
        plain = f"{each.took_ms / 1e3:.4f},0.0001,0.0000,0.0000,{each.took_ms / 1e3:.4f},0.0000"
        lines.append(plain if older else f"{plain},{each.status},{each.at_ms / 1e3:.4f}")
    return "\n".join([*lines, ""])


def gatling(requests: Sequence[Request] = REQUESTS, *, with_user: bool = False) -> str:
    lines = [f"RUN\tshop.Simulation\tsimulation\t{START_MS}\t \t3.9.5", f"USER\tBrowse\tSTART\t{START_MS}"]
    for each in requests:
        start = START_MS + each.at_ms
        word, message = ("OK", " ") if each.status == 200 else ("KO", "status.find.in(200), but actually found 503")
        user = "1\t" if with_user else ""
        lines.append(f"REQUEST\t{user}\t{each.name}\t{start}\t{start + each.took_ms:.0f}\t{word}\t{message}")
    return "\n".join([*lines, f"USER\tBrowse\tEND\t{START_MS + 9000}", ""])


def pytest_benchmark(requests: Sequence[Request] = REQUESTS, *, with_data: bool = True) -> str:
    benchmarks = []
    for name in dict.fromkeys(each.name for each in requests):
        data = [each.took_ms / 1e3 for each in requests if each.name == name]
        stats: dict[str, object] = {"min": min(data), "max": max(data), "rounds": len(data)}
        benchmarks.append({"name": name, "fullname": name, "stats": {**stats, "data": data} if with_data else stats})
    return json.dumps({"machine_info": {"node": "x"}, "commit_info": {}, "benchmarks": benchmarks, "version": "5.1.0"})


def pyperf(requests: Sequence[Request] = REQUESTS) -> str:
    benchmarks = [
        {"metadata": {"name": name}, "runs": [
            {"warmups": [[1, 9.0]], "values": [each.took_ms / 1e3 for each in requests if each.name == name]}
        ]}
        for name in dict.fromkeys(each.name for each in requests)
    ]  # fmt: skip
    return json.dumps({"benchmarks": benchmarks, "metadata": {"unit": "second"}, "version": "1.0"})


def aiperf(requests: Sequence[Request] = REQUESTS) -> str:
    """A record a line; the first token comes after a tenth of the time."""
    lines = []
    for each in requests:
        start_ns = (START_MS + each.at_ms) * 1_000_000
        end_ns = start_ns + round(each.took_ms * 1e6)
        metadata = {"request_start_ns": start_ns, "request_end_ns": end_ns, "was_cancelled": False, "turn_index": 0}
        good = each.status == 200
        metrics = {"time_to_first_token": {"value": each.took_ms / 10, "unit": "ms"}} if good else {}
        error = None if good else {"code": each.status, "type": "HTTPError", "message": "busy"}
        lines.append(json.dumps({"metadata": metadata, "metrics": metrics, "error": error}))
    return "\n".join([*lines, ""])


def guidellm(requests: Sequence[Request] = REQUESTS, *, before_0_4: bool = False, benchmarks: int = 1) -> str:
    """Each benchmark has its share of the requests; the first token comes after a tenth of the time."""
    share = -(-len(requests) // benchmarks)
    found = []
    for number in range(benchmarks):
        groups: dict[str, list[object]] = {"successful": [], "errored": [], "incomplete": []}
        for each in requests[share * number : share * (number + 1)]:
            record = _guidellm_before_0_4(each) if before_0_4 else _guidellm_request(each)
            groups["successful" if each.status == 200 else "errored"].append(record)
        made = {status: len(records) for status, records in groups.items()}
        strategy = {"strategy": {"type_": "constant", "rate": 10.0 * (number + 1)}}
        about = {"args": strategy} if before_0_4 else {"config": strategy, "scheduler_metrics": {"requests_made": made}}
        found.append({"type_": "generative_benchmark", **about, "requests": groups})
    metadata = {} if before_0_4 else {"metadata": {"version": 2, "guidellm_version": "0.8.1"}, "config": {}}
    return json.dumps({**metadata, "benchmarks": found})


def _guidellm_request(each: Request) -> dict[str, object]:
    start_s, took_s = (START_MS + each.at_ms) / 1000, each.took_ms / 1000
    good = each.status == 200
    timings = {
        "targeted_start": start_s - 1, "resolve_start": start_s - 0.001, "request_start": start_s,
        "first_token_iteration": start_s + took_s / 10 if good else None, "request_end": start_s + took_s,
        "resolve_end": start_s + took_s + 0.001,
    }  # fmt: skip
    error = None if good else f"Server error '{each.status} Service Unavailable' for url 'http://127.0.0.1/v1'"
    return {
        "type_": "generative_request_stats", "request_id": "1", "request_args": None, "output": "text",
        "info": {"status": "completed" if good else "errored", "timings": timings, "error": error},
        "request_start_time": start_s, "request_end_time": start_s + took_s, "request_latency": took_s,
    }  # fmt: skip


def _guidellm_before_0_4(each: Request) -> dict[str, object]:
    start_s, took_s = (START_MS + each.at_ms) / 1000, each.took_ms / 1000
    good = each.status == 200
    error = {} if good else {"error": f"Server error '{each.status} Service Unavailable' for url 'http://127.0.0.1/v1'"}
    return {
        "type_": "generative_text_response" if good else "generative_text_error", "prompt": "a", "output": "text",
        "start_time": start_s, "end_time": start_s + took_s, "request_latency": took_s, **error,
        "first_token_time": start_s + took_s / 10 if good else None,
    }  # fmt: skip


# Each kind of file: the format's name, and what writes it.
WRITERS: dict[str, tuple[str, Callable[[], str]]] = {
    "k6 csv": ("k6-csv", k6_csv),
    "k6 csv of 18 columns": ("k6-csv", lambda: k6_csv(columns=18)),
    "k6 csv of 16 columns": ("k6-csv", lambda: k6_csv(columns=16)),
    "k6 csv in ms": ("k6-csv", lambda: k6_csv(per_s=1000)),
    "k6 json": ("k6-json", k6_json),
    "jtl": ("jmeter-csv", jtl),
    "jtl without header": ("jmeter-csv", lambda: jtl(header=False)),
    "jtl with dates": ("jmeter-csv", lambda: jtl(dates=True)),
    "jtl in xml": ("jmeter-xml", jtl_xml),
    "locust": ("locust-csv", locust),
    "vegeta csv": ("vegeta-csv", vegeta_csv),
    "vegeta csv of 9 columns": ("vegeta-csv", lambda: vegeta_csv(columns=9)),
    "vegeta json": ("vegeta-json", vegeta_json),
    "oha": ("oha-csv", oha),
    "hey": ("hey-csv", hey),
    "hey, older": ("hey-csv", lambda: hey(older=True)),
    "gatling": ("gatling-log", gatling),
    "gatling, older": ("gatling-log", lambda: gatling(with_user=True)),
    "aiperf": ("aiperf-jsonl", aiperf),
    "guidellm": ("guidellm-json", guidellm),
    "guidellm before 0.4": ("guidellm-json", lambda: guidellm(before_0_4=True)),
    "pytest-benchmark": ("pytest-benchmark", pytest_benchmark),
    "pyperf": ("pyperf", pyperf),
}
