"""Runs in a store: an S3-compatible server in a process of its own, a plain folder behind a URL, and what happens when
the store goes away."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import perflib
from perflib.cli import cli
from perflib.errors import RunError
from perflib.store import remote
from perflib.store.runs import run_ids
from perflib.suite.file import from_table
from tests.support.service import Server
from tests.support.suites import table

pytest.importorskip("fsspec", reason='no fsspec here: pip install "perflib-workbench[s3]"')
ROOT = Path(__file__).parents[2]
SECRET = "not-to-be-written-anywhere"


class S3:
    """A server whose buckets are folders; the environment says where it is."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, "s3://bucket/team"
        (folder / "bucket").mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "localbucket", "--port", str(self.port), str(self.folder)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert time.monotonic() < until
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def files(self, pattern: str) -> list[Path]:
        return sorted(self.folder.glob(f"bucket/team/runs/*/{pattern}"))


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_cache: Any) -> Iterator[S3]:
    pytest.importorskip("localbucket", reason="no S3 server here")
    made = S3(tmp_path / "s3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.port}")
    yield made
    made.stop()


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """fresh_cache(): from here on this is a machine that has seen nothing of the store."""
    for name, value in (
        ("ACCESS_KEY_ID", "tester"),
        ("SECRET_ACCESS_KEY", SECRET),
        ("REGION", "us-east-1"),
        ("EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)

    def fresh() -> Path:
        cache = tmp_path / f"cache{len(list(tmp_path.glob('cache*')))}"
        cache.mkdir()
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        return cache

    fresh()
    return fresh


def suite(url: str, **load: Any) -> perflib.Suite:
    made = table(
        load={"model": "constant", "rate_per_s": 100, "duration_s": 2, **load}, objectives=["p95 response < 2 s"]
    )
    made["workers"], made["targets"]["api"] = 2, {"kind": "http", "url": url}
    return from_table(made)


def unwritten(run: perflib.Run) -> list[str]:
    """What the run says of its store. (What it says of a busy machine is not looked at.)"""
    return [reason for reason in run.manifest.reasons if "store" in reason or "written" in reason or "lost" in reason]


def said(*words: str) -> tuple[int, str]:
    """The command's exit code and what it printed; errors as the message of the one line."""
    result = CliRunner().invoke(cli, list(words), standalone_mode=False)
    if isinstance(result.exception, perflib.PerflibError):
        return result.exception.exit_code, str(result.exception)
    if result.exception is not None:
        raise result.exception
    return result.return_value, result.output


def test_a_run_in_s3_is_read_from_there_by_every_command(
    s3: S3, service: Server, fresh_cache: Any, tmp_path: Path
) -> None:
    made = perflib.run(suite(service.url), data=s3.url, progress=False)
    assert not unwritten(made) and len(made.rows(phase=None)) == 200
    assert {path.name[:9] for path in s3.files("rows/*.parquet")} == {"part-0000", "part-0001"}
    assert not list(s3.folder.rglob("*.tmp")) and not list(s3.folder.rglob(".[!l]*")), "only what is finished"
    cache = fresh_cache()
    here = str(made.path.parents[1])
    assert said("runs", "--data", s3.url) == said("runs", "--data", here)
    assert not list(cache.rglob("*.parquet")), "a list needs no rows"
    assert said("check", "--data", s3.url) == said("check", "--data", here)
    assert said("report", "--data", s3.url, "--out", "page") == (0, f"{Path('page', 'report.html')}\n")
    found = perflib.open_run("latest", s3.url)
    assert len(found.rows(phase=None)) == 200 and found.rows_sha256() == made.rows_sha256()
    assert found.id in said("compare", found.id, made.id, "--data", s3.url)[1]
    for path in [*s3.folder.rglob("*"), *tmp_path.glob("cache*/**/*")]:
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_only_what_is_new_is_fetched(
    s3: S3, service: Server, fresh_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = perflib.run(suite(service.url), data=s3.url, progress=False)
    parts, fetched = len(made.parts), list[str]()
    get = remote.Store._get
    monkeypatch.setattr(remote.Store, "_get", lambda self, source, to: (fetched.append(to.name), get(self, source, to)))
    perflib.open_run("latest", s3.url)
    assert not [name for name in fetched if name.endswith(".parquet")], "this machine wrote them"
    fetched.clear()
    perflib.open_run("latest", s3.url)
    assert not fetched
    (manifest,) = s3.files("run.json")
    manifest.write_text(manifest.read_text().replace('"status": "complete"', '"status": "invalid"', 1))
    s3.files("rows/*.parquet")[0].unlink()
    assert perflib.open_run("latest", s3.url).status == "invalid" and fetched == ["run.json"]
    assert len(perflib.open_run("latest", s3.url).parts) == parts - 1, "what is gone there is gone here"


def test_a_folder_behind_a_url_holds_what_a_folder_holds(service: Server, fresh_cache: Any, tmp_path: Path) -> None:
    url = (tmp_path / "plain").as_uri()
    made = perflib.run(suite(service.url), data=url, progress=False)
    fresh_cache()
    assert len(perflib.open_run(made.id, url).rows(phase=None)) == 200
    assert len(perflib.open_run(made.id, tmp_path / "plain").rows(phase=None)) == 200
    assert run_ids(url) == run_ids(tmp_path / "plain") == [made.id]


def test_a_store_that_goes_away_leaves_the_rows_in_the_spool(s3: S3, service: Server) -> None:
    def stop() -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until and not s3.files("rows/*.parquet"):
            time.sleep(0.05)
        s3.stop()

    threading.Thread(target=stop).start()
    made = perflib.run(suite(service.url, duration_s=4), data=s3.url, progress=False)
    assert made.status == "invalid"
    (reason,) = unwritten(made)
    assert f"could not be written to {s3.url} (" in reason and reason.endswith(f"; they are kept in {made.path}")
    assert "\n" not in reason and len(made.rows(phase=None)) == 400
    s3.start()
    again = perflib.open_run(made.id, s3.url)
    assert again.status == "invalid" and len(again.rows(phase=None)) == 400, "what is here is newer"


def test_a_store_that_comes_back_has_everything(s3: S3, service: Server, fresh_cache: Any) -> None:
    def stop() -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until and not s3.files("rows/*.parquet"):
            time.sleep(0.05)
        s3.stop()
        time.sleep(1)
        s3.start()

    threading.Thread(target=stop).start()
    made = perflib.run(suite(service.url, duration_s=4), data=s3.url, progress=False)
    fresh_cache()
    assert not unwritten(made) and len(perflib.open_run(made.id, s3.url).rows(phase=None)) == 400


def test_what_cannot_be_used_is_one_line_before_any_load(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = suite("http://127.0.0.1:9")  # a run that began would say of this
    with pytest.raises(
        RunError, match=r"s3://other/x: .*bucket does not exist; check that it exists, and that its keys"
    ) as wrong:
        perflib.run(unreachable, data="s3://other/x", progress=False)
    assert wrong.value.exit_code == 2 and "\n" not in str(wrong.value)
    assert not list((remote.cache("s3://other/x") / "runs").iterdir()), "nothing is left of it"
    assert said("runs", "--data", "s3://other/x")[0] == 2
    for url in ("s3://me:hidden@bucket/x", "s3://bucket/x?secret=hidden"):
        with pytest.raises(RunError, match="the URL contains a user") as refused:
            perflib.run(unreachable, data=url, progress=False)
        assert "hidden" not in str(refused.value)
    for words in (("compact", "--data", s3.url), ("rm", "x", "--data", s3.url)):
        assert said(*words) == (
            2,
            f"--data: {words[0]} works in a folder only, not in an object store; "
            "give a folder, or use the tools of the store",
        )
    assert said("check", "--data", s3.url) == (2, f"{s3.url}: there are no runs; create one: perflib run")
    assert said("check", "x", "--data", s3.url) == (2, f"{s3.url}: no run 'x'; list them: perflib runs")
    assert said("runs", "--data", "nosuch://x")[0] == 2
    s3.stop()
    assert said("runs", "--data", s3.url)[0] == 2
    monkeypatch.setitem(sys.modules, "fsspec.implementations.arrow", None)
    assert said("runs", "--data", s3.url) == (
        2,
        '--data: runs in a store need fsspec; pip install "perflib-workbench[s3]"',
    )


def test_secrets_of_the_environment_are_struck_out_of_what_a_store_says() -> None:
    os.environ["AWS_SESSION_TOKEN"] = "a-long-session-token"
    try:
        assert remote._plain(OSError("denied to a-long-session-token\nmore")) == "denied to •••"
    finally:
        del os.environ["AWS_SESSION_TOKEN"]


def test_nothing_of_fsspec_is_imported_for_a_folder() -> None:
    code = "import sys, perflib.load.session, perflib.load.scenario; sys.exit('fsspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


@pytest.fixture
def hosts(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Path]]:
    """A client of two Dask workers that share no folder with this process, and where their spools are."""
    pytest.importorskip("distributed", reason='no Dask here: pip install "perflib-workbench[dask]"')
    from perflib.errors import TargetError
    from perflib.load.cluster import connected
    from tests.support.dask_cluster import DaskCluster

    here, theirs = os.environ["XDG_CACHE_HOME"], tmp_path / "theirs"
    monkeypatch.setenv("XDG_CACHE_HOME", str(theirs))
    cluster = DaskCluster()
    monkeypatch.setenv("XDG_CACHE_HOME", here)
    until = time.monotonic() + 30
    try:
        while time.monotonic() < until:
            with contextlib.suppress(TargetError), connected(cluster.address) as client:
                client.wait_for_workers(2, timeout=30)
                yield client, theirs
                return
    finally:
        cluster.close()


def test_two_machines_write_straight_to_s3(s3: S3, hosts: tuple[Any, Path], service: Server, fresh_cache: Any) -> None:
    client, theirs = hosts
    made = perflib.run(suite(service.url), data=s3.url, progress=False, client=client)
    assert not unwritten(made)
    rows = made.rows(phase=None)
    assert rows.groupby("worker").size().tolist() == [100, 100]
    assert {path.name[:9] for path in s3.files("rows/*")} == {"part-0000", "part-0001"}
    assert {path.name[:11] for path in s3.files("resources/*")} >= {"part-host0-", "part-host1-"}
    assert not list(theirs.glob("perflib/*/spool/*")), "a spool whose files are in the store is removed"
    fresh_cache()
    assert len(perflib.open_run("latest", s3.url).rows(phase=None)) == 200


@pytest.mark.slow
def test_a_machine_whose_rows_do_not_come_to_the_store_is_named(
    s3: S3, hosts: tuple[Any, Path], service: Server
) -> None:
    client, theirs = hosts

    def stop() -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until and len(s3.files("rows/*.parquet")) < 2:
            time.sleep(0.05)
        s3.stop()

    threading.Thread(target=stop).start()
    made = perflib.run(suite(service.url, duration_s=4), data=s3.url, progress=False, client=client)
    assert made.status == "invalid"
    spools = list(theirs.glob("perflib/*/spool/*"))
    assert len(spools) == 2 and all(any(str(spool) in reason for reason in made.manifest.reasons) for spool in spools)
    shutil.rmtree(theirs)


@pytest.mark.slow
def test_a_machine_that_cannot_use_the_store_says_so_before_the_load(
    hosts: tuple[Any, Path], service: Server, tmp_path: Path
) -> None:
    client, _ = hosts
    made = perflib.run(suite(service.url), data="memory://only/here", progress=False, client=client)
    assert made.status == "invalid"
    assert "does not find the run in memory://only/here; is it the same store?" in made.manifest.reasons[0]
