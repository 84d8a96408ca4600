"""Logs and spectra of HdrHistogram, written by its own package, as runs of figures alone."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perflib
from perflib.errors import PerflibError
from perflib.formats.hdr_histogram import decoded, encoded
from perflib.formats.importing import import_files
from perflib.store.records import FigureRecord
from tests.support.command_line import invoke

LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
SHARES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p99.9": 99.9}


def histogram(values: Sequence[int] | np.ndarray, digits: int = 3, most: int = 10**13) -> Any:
    counted = pytest.importorskip("hdrh.histogram").HdrHistogram(1, most, digits)
    for value in values:
        counted.record_value(int(value))
    return counted


def log(histograms: Sequence[Any], ratio: float = 1e6) -> str:
    """A log with an interval of 2 s for each of them, one after the other."""
    text = io.StringIO()
    writer = pytest.importorskip("hdrh.log").HistogramLogWriter(text)
    writer.output_log_format_version()
    writer.output_comment("[StartTime: 1796059270.000 (seconds since epoch)]")
    writer.output_legend()
    for number, each in enumerate(histograms):
        writer.output_interval_histogram(each, 0.5 + 2 * number, 2.5 + 2 * number, ratio)
    return text.getvalue()


def figures_of(text: str, folder: Path, **options: Any) -> dict[tuple[str | None, str], FigureRecord]:
    (folder / "results").write_text(text)
    run = perflib.open_run(import_files([folder / "results"], folder / "data", **options))
    assert run.manifest.imported is not None and run.manifest.imported.tool == "HdrHistogram"
    return {(each.operation, each.name): each for each in run.manifest.imported.figures}


@pytest.mark.parametrize(("digits", "per_ms"), [(1, 10**6), (3, 10**6), (4, 10**6), (3, 1000), (2, 1)])
def test_a_log_has_the_figures_that_hdrhistogram_has(digits: int, per_ms: int, tmp_path: Path) -> None:
    """In ns, and in the units that the maxima show."""
    values = np.random.default_rng(digits).lognormal(4, 1, (3, 1000)) * per_ms + 1
    intervals = [histogram(each, digits) for each in values]
    found = figures_of(log(intervals, per_ms), tmp_path)
    whole = histogram(values.ravel(), digits)
    for name, percent in SHARES.items():
        one = found[None, f"{name} response"]
        assert one.value == pytest.approx(whole.get_value_at_percentile(percent) / per_ms, abs=1e-9)
        assert one.value == pytest.approx(np.percentile(values, percent) / per_ms, rel=2 * 10.0**-digits + 0.005, abs=1)
    assert found[None, "mean response"].value == pytest.approx(whole.get_mean_value() / per_ms, abs=0.5 / per_ms + 1e-9)
    assert found[None, "max response"].value == pytest.approx(whole.get_max_value() / per_ms)
    assert (found[None, "throughput"].value, found[None, "p50 response"].n) == (pytest.approx(500), 3000)


def test_what_is_encoded_is_read_by_hdrhistogram_and_again() -> None:
    """From 0 to an hour in ns, with buckets of every width, in runs and alone. 5000 values have each share exactly."""
    values = [*range(0, 5000, 3), 2047, 2048, 2049, 4095, 4096, 10**9, 3600 * 10**9]
    values += np.random.default_rng(5).lognormal(14, 4, 3326).astype(int).tolist()
    theirs = pytest.importorskip("hdrh.histogram").HdrHistogram.decode(encoded(values))
    ours, expected = decoded(encoded(values)), histogram(values)
    assert theirs.get_total_count() == ours.n == len(values)
    shares = (0.01, 0.2, 0.5, 0.9, 0.99, 0.999, 1.0)
    found = [theirs.get_value_at_percentile(100 * share) for share in shares]
    assert found == ours.quantiles(shares) == [expected.get_value_at_percentile(100 * share) for share in shares]


def test_tags_are_operations_and_are_not_added_up(tmp_path: Path) -> None:
    plain = log([histogram([5_000_000] * 10), histogram([7_000_000] * 4)])
    found = figures_of(plain.replace("\n2.5", "\nTag=waited,2.5"), tmp_path)
    assert {operation for operation, _ in found} == {None, "waited"}
    assert [found[tag, "p50 response"].n for tag in (None, "waited")] == [10, 4]
    assert found[None, "max response"].value == pytest.approx(5, rel=1e-3)
    assert found["waited", "max response"].value == pytest.approx(7, rel=1e-3)


def test_such_a_run_is_shown_checked_and_set_beside_others(tmp_path: Path) -> None:
    (tmp_path / "a.hlog").write_text(log([histogram([40_000_000] * 100)]))
    where = ("--data", str(tmp_path / "data"))
    ids = [invoke("import", str(tmp_path / "a.hlog"), *where).output.splitlines()[-1] for _ in range(2)]
    shown = invoke("show", ids[0], *where).output
    assert "p95 response" in shown and "values are taken as ns" in shown
    assert invoke("check", ids[0], "--objective", "p95 response < 50 ms", *where).return_value == 3
    assert invoke("compare", *ids, *where).return_value == 3
    assert "2026-11-30T" in invoke("runs", *where).output, "when the log was begun"


def damaged(
    payload: bytes, *, digits: int = 3, lowest: int = 1, cookie: int = 0x1C849313, outer: int = 0x1C849314
) -> str:
    plain = struct.pack(">iiiiqqd", cookie, len(payload), 0, digits, lowest, 10**12, 1.0) + payload
    packed = zlib.compress(plain)
    return base64.b64encode(struct.pack(">ii", outer, len(packed)) + packed).decode()


GOOD = damaged(b"\x02")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("1.0,1.0,5.0\n", "line 3: an interval needs"),
        ("1.0,1.0,1.2.3,AAAA\n", "line 3: an interval needs"),
        ("1.0,1.0,5.0,no base64\n", "line 3: an interval needs"),
        ("1.0,1.0,5.0,!!!!\n", "line 3: its histogram is no base64"),
        (f"1.0,1.0,5.0,{GOOD[:-8]}\n", "line 3: its histogram has .* it was cut"),
        (f"1.0,1.0,5.0,{GOOD}", "line 3: the file ends within this line"),
        (f"1.0,1.0,5.0,{damaged(b'x', outer=0x1C849302)}\n", "line 3: .*not in the encoding V2"),
        (f"1.0,1.0,5.0,{damaged(b'x', cookie=0x1C849301)}\n", "line 3: .*not in the encoding V2"),
        (f"1.0,1.0,5.0,{damaged(b'x', digits=9)}\n", "line 3: .*impossible header"),
        (f"1.0,1.0,5.0,{damaged(b'x', lowest=0)}\n", "line 3: .*impossible header"),
        (f"1.0,1.0,5.0,{damaged(bytes(9_000_000))}\n", "line 3: .*unpacks to more than"),
        (f"1.0,1.0,5.0,{damaged(bytes([255] * 9) + bytes([2]))}\n", "line 3: .*beyond all bounds"),
        (f"1.0,1.0,5.0,{damaged(bytes([254] * 8 + [127]))}\n", "line 3: .*beyond all bounds"),
        (f"1.0,1.0,5.0,{damaged(bytes([255] * 3))}\n", "line 3: .*ends within a count"),
        (f"1.0,1.0,5.0,{damaged(bytes([2]) * 600_000, digits=5)}\n", "line 3: more than 500,000 different values"),
        ("".join(f"Tag=t{tag},1.0,1.0,5.0,{GOOD}\n" for tag in range(201)), "line 203: more than 200 tags"),
        ("", "it has no figures"),
    ],
)  # fmt: skip
def test_a_damaged_or_hostile_log_is_one_line(line: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "results").write_text(f"#[Histogram log format version 1.3]\n{LEGEND}{line}")
    with pytest.raises(PerflibError, match=why) as caught:
        import_files([tmp_path / "results"], tmp_path / "data")
    assert "\n" not in str(caught.value) and not list((tmp_path / "data").glob("runs/*"))


@pytest.mark.parametrize("as_csv", [False, True])
@pytest.mark.parametrize("to_ms", [1e6, 1000.0])
def test_a_spectrum_is_between_its_lines(as_csv: bool, to_ms: float, tmp_path: Path) -> None:
    """As HdrHistogram prints it from histograms in ns and in µs; in CSV without the lines at its end."""
    values = np.random.default_rng(7).lognormal(3, 0.7, 2000)
    counted = histogram(values * to_ms)
    text = io.BytesIO()
    counted.output_percentile_distribution(text, to_ms, use_csv=as_csv)
    found = figures_of(text.getvalue().decode(), tmp_path)
    for name, percent in SHARES.items():
        one = found[None, f"{name} response"]
        truth = counted.get_value_at_percentile(percent) / to_ms
        assert (one.low or one.value) <= truth + 1e-3 and one.value >= truth - 1e-3 and one.n == len(values)
    assert as_csv or found[None, "mean response"].value == pytest.approx(counted.get_mean_value() / to_ms, abs=1e-3)
