"""Runs in shared object storage: `--data` is an fsspec URL, for example s3://bucket/prefix.

Each machine writes to a local folder, its spool. `Upload` uploads every finished file from there directly to the store;
a part file gets its final name only when it is complete. Readers mirror a run into a local cache and download only new
or changed files (`Store.fetch`). The spool of the coordinator is inside its cache.

<url>/runs/<id>/run.json, rows/, resources/…    as in a folder
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeGuard

from perflib.errors import RunError, install
from perflib.suite.redaction import learn_environment, struck_out
from perflib.text import one_line

PERIOD_S: Final = 1.0  # between two searches for finished files
WAITS_S: Final = (0.0, 1.0, 3.0)  # before each attempt to upload the remaining files at the end
CONNECT_S: Final = 5
ANSWER_S: Final = 20
AT_ONCE: Final = 8  # concurrent transfers
MANIFEST: Final = "run.json"
MEND: Final = "check that it exists, and that its keys and endpoint are in the environment"

_S3: Final = ("s3", "s3a")
_WHOLE: Final = (
    *_S3,
    "gs",
    "gcs",
    "az",
    "abfs",
    "abfss",
    "memory",
)  # these stores write objects atomically and need no folders
_CREDENTIALS: Final = re.compile(r"://[^/]*@|\?")
_SPOOL: Final = ".spool"  # marks a run with files that are not in the store yet: the local files are newer
_FETCHED: Final = ".fetched.json"  # the version of each downloaded file
_OURS: Final = ("counts",)  # derived files of this machine


def is_url(data: str | Path | None) -> TypeGuard[str]:
    """Whether `data` is the URL of an object store."""
    return isinstance(data, str) and "://" in data


def cache(url: str) -> Path:
    """The folder that mirrors a store, in the user's cache directory."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    which = hashlib.sha256(f"{url.rstrip('/')} {_endpoint()}".encode()).hexdigest()[:16]
    return Path(root, "perflib", which)


def spool(url: str, run: str) -> Path:
    """A new folder for the files that this machine writes for a run of another coordinator."""
    parent = cache(url) / "spool"
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{run}-", dir=parent))


def folder_only(data: str | Path | None, what: str) -> None:
    """Raise RunError for a URL, in commands that change runs, which work in a folder only."""
    if is_url(data):
        raise RunError(
            f"{what} works in a folder only, not in an object store",
            where="--data",
            mend="give a folder, or use the tools of the store",
        )


class Store:
    """The runs at a URL. Every method raises RunError if the store cannot be used; so does a URL with credentials."""

    def __init__(self, url: str) -> None:
        if _CREDENTIALS.search(url):
            raise RunError(
                "the URL contains a user, a password or options, which would be stored with the run",
                where="--data",
                mend="set credentials in the environment",
            )
        self.url, self._scheme = url.rstrip("/"), url.partition("://")[0]
        self._fs, self._root = self._opened()

    def ids(self) -> list[str]:
        """The ids of all runs, oldest first."""
        with self._said():
            self._fs.invalidate_cache()
            try:
                entries = self._fs.ls(f"{self._root}/runs", detail=True)
            except FileNotFoundError:
                return []
        return sorted(entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory")

    def has(self, run: str) -> bool:
        """Whether there is a run of this id."""
        with self._said():
            self._fs.invalidate_cache()
            return bool(self._fs.exists(f"{self._root}/runs/{run}/{MANIFEST}"))

    def put(self, run: str, folder: Path, name: str) -> None:
        """Upload one file of a run atomically. It raises the backend's own errors, which `each` converts."""
        whole, to = self._scheme in _WHOLE, f"{self._root}/runs/{run}/{name}"
        parent, _, last = to.rpartition("/")
        unfinished = to if whole else f"{parent}/.{last}.tmp"
        if not whole:
            self._fs.makedirs(parent, exist_ok=True)
        with (folder / name).open("rb") as read, self._fs.open(unfinished, "wb") as written:
            shutil.copyfileobj(read, written, 2**20)
        if not whole:
            self._fs.mv(unfinished, to)

    def each(self, do: Callable[[str], None], names: Iterable[str]) -> None:
        """Transfer several files at once; the first error ends it."""
        with self._said():
            pool = ThreadPoolExecutor(AT_ONCE)
            try:
                for _ in pool.map(do, names):
                    pass
            finally:
                pool.shutdown(cancel_futures=True)

    def fetch(self, run: str, folder: Path, *, rows: bool = True) -> list[str]:
        """Download new and changed files of a run, and return their names. rows=False: only its run.json.

        Files that this machine has not uploaded yet are not replaced. Raises RunError if there is no such run.
        """
        with self._said():
            there = self._listed(f"{self._root}/runs/{run}", rows)
        ours, known = (folder / _SPOOL).exists(), _known(folder)
        if not there and not ours:
            raise RunError(f"no run {run!r}", where=self.url, mend="list them: perflib runs")
        marks = {} if ours else {name: _mark(info) for name, info in there.items()}
        wanted = [
            name
            for name, info in there.items()
            if not _current(folder / name, info["size"], ours, name in marks and known.get(name) == marks[name])
        ]
        self.each(lambda name: self._get(there[name]["name"], folder / name), wanted)
        if not ours:
            for name in set(_files(folder)) - set(there) if rows else ():
                (folder / name).unlink()  # it was deleted in the store
            (folder / _FETCHED).write_text(json.dumps({**({} if rows else known), **marks}), "utf-8")
        return wanted

    def _opened(self) -> tuple[Any, str]:
        """The file system, and the path of the URL in it."""
        try:
            if self._scheme in _S3:
                return _s3(), self.url.partition("://")[2]
            from fsspec.core import url_to_fs

            found, path = url_to_fs(self.url)
        except ModuleNotFoundError as error:
            needed = str(error.name).partition(".")[0]
            raise RunError(f"runs in a store need {needed}", where="--data", mend=install("s3")) from None
        except (ImportError, ValueError) as error:  # the protocol's own package, or no protocol at all
            raise RunError(f"{self._scheme}:// cannot be used: {_plain(error)}", where="--data") from None
        return found, path.rstrip("/")

    def _listed(self, base: str, rows: bool) -> dict[str, dict[str, Any]]:
        """The files of a run by their names in its folder; empty if there is no such run."""
        self._fs.invalidate_cache()
        try:
            if not rows:
                return {MANIFEST: self._fs.info(f"{base}/{MANIFEST}")}
            found = [
                info for _, _, files in self._fs.walk(base, detail=True, on_error="raise") for info in files.values()
            ]
        except FileNotFoundError:
            return {}
        named = {info["name"].lstrip("/").removeprefix(base.lstrip("/") + "/"): info for info in found}
        return {name: info for name, info in named.items() if not name.endswith(".tmp") and ".." not in name.split("/")}

    def _get(self, source: str, to: Path) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        unfinished = to.with_name(f".{to.name}.{os.getpid()}.tmp")
        self._fs.get_file(source, str(unfinished))
        unfinished.replace(to)

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """Convert any error of the backend into a RunError of one line."""
        try:
            yield
        except Exception as error:
            raise RunError(_plain(error).rstrip(". "), where=self.url, mend=MEND) from None


class Upload:
    """Uploads the finished files of a run from this machine's folder, about once a second, and the rest in `close`.

    both: also downloads the files of other machines, so that the run can be followed in this folder.
    Raises RunError, and leaves no folder, if the store cannot be written.
    """

    def __init__(self, url: str, run: str, folder: Path, *, both: bool = False) -> None:
        self._run, self._folder, self._both = run, folder, both
        self._sent: dict[str, tuple[int, int]] = {}
        self._fetch_at = 0.0
        try:
            self._store = Store(url)
            (folder / _SPOOL).touch()
            self._pass()
        except RunError:
            shutil.rmtree(folder)
            raise
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="upload", daemon=True)
        self._thread.start()

    def close(self) -> str:
        """Upload the remaining files. Returns "", or a line about missing files, the reason, and their folder."""
        self._over.set()
        self._thread.join()
        for wait_s in WAITS_S:
            time.sleep(wait_s)
            try:
                self._pass(last=True)
            except RunError as error:
                why = error.what
                continue
            (self._folder / _SPOOL).unlink()
            return ""
        return (
            f"{len(self._left())} files of the run could not be written to {self._store.url} ({why}); they are kept "
            f"in {self._folder}"
        )

    def _loop(self) -> None:
        while not self._over.wait(PERIOD_S):
            with contextlib.suppress(RunError):  # the next pass tries again, and `close` reports it
                self._pass()

    def _left(self) -> dict[str, tuple[int, int]]:
        found = _files(self._folder, self._sent)
        return {name: stamp for name, stamp in found.items() if self._sent.get(name) != stamp}

    def _pass(self, last: bool = False) -> None:
        """Transfer new and changed files, with run.json after its rows.

        Downloads take at most a tenth of the time; the `last` pass always downloads.
        """
        left = self._left()

        def put(name: str) -> None:
            self._store.put(self._run, self._folder, name)
            self._sent[name] = left[name]

        self._store.each(put, left.keys() - {MANIFEST})
        self._store.each(put, left.keys() & {MANIFEST})
        if self._both and (last or time.monotonic() >= self._fetch_at):
            began = time.monotonic()
            fetched = self._store.fetch(self._run, self._folder)
            self._sent |= {name: _stamp(self._folder / name) for name in fetched}
            self._fetch_at = time.monotonic() + 9 * (time.monotonic() - began)


def _s3() -> Any:
    """S3 through Arrow's client, which needs no further package and one request for a small file."""
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    where = {"endpoint_override": endpoint} if (endpoint := _endpoint()) else {}
    retry = AwsStandardS3RetryStrategy(max_attempts=2)
    return ArrowFSWrapper(
        S3FileSystem(
            connect_timeout=CONNECT_S, request_timeout=ANSWER_S, retry_strategy=retry, allow_delayed_open=True, **where
        )
    )


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _files(folder: Path, sent: Container[str] = ()) -> dict[str, tuple[int, int]]:
    """The finished files of a run with their stamps, without uploaded part files, which never change.

    Hidden files are unfinished, or belong to this module.
    """
    found, start = {}, len(str(folder)) + 1
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _OURS]
        place = f"{Path(base).as_posix()[start:]}/".lstrip("/")
        for name in (f"{place}{name}" for name in names if not name.startswith(".")):
            if not (name.endswith(".parquet") and name in sent):
                with contextlib.suppress(FileNotFoundError):
                    found[name] = _stamp(folder / name)
    return found


def _stamp(path: Path) -> tuple[int, int]:
    """The size and modification time (ns) of a file, which identify its version."""
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _known(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / _FETCHED).read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def _mark(info: dict[str, Any]) -> str:
    """The version of a file in the store as text: size, time and ETag, as far as the store has them."""
    return hashlib.sha256(repr(sorted(info.items())).encode()).hexdigest()[:16]


def _current(path: Path, size: int, ours: bool, fetched: bool) -> bool:
    """Whether the local file is current. Part files never change; of other files the downloaded version is known."""
    if not path.is_file():
        return False
    return ours or fetched or (path.suffix == ".parquet" and path.stat().st_size == size)


def _plain(error: Exception) -> str:
    """The first line of the store's error message, without secrets of the environment and without Arrow's details."""
    line = (str(error).splitlines() or [""])[0] or type(error).__name__
    line = re.sub(r"^When .*?(?=AWS Error)|; Details: .*", "", line)
    learn_environment()
    return one_line(struck_out(line), 300)
