"""TLS, proxies, unix sockets and other ways to a server: real ones, and what is said where they fail."""

from __future__ import annotations

import base64
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import perflib
from perflib.errors import SuiteError
from perflib.load.preflight import check
from perflib.suite.target import HttpTargetSpec
from perflib.targets.process import why_unready
from tests.support.networks import Authority, openssl_server, proxy_server, uvicorn_server
from tests.support.runs import run_quietly
from tests.support.suites import suite

LOAD = {"model": "closed", "concurrency": 2, "requests": 20}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> dict[str, str]:
    """The files of a server for shop.test."""
    certificate, key = authority.certificate("shop", "DNS:shop.test")
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}


def run(tmp_path: Path, target: dict[str, Any], **scenario: Any) -> perflib.Run:
    made = suite({"kind": "http", **target}, **{"load": LOAD, **scenario})
    return run_quietly(replace(made, folder=str(tmp_path), allow_hosts=("shop.test",)), tmp_path)


def good(made: perflib.Run) -> None:
    rows = made.rows(phase=None)
    assert made.status == "complete" and len(rows) == 20 and rows["ok"].all(), made.manifest.reasons


def why_not(tmp_path: Path, target: dict[str, Any]) -> str:
    """Why the look whether the server is ready fails."""
    return why_unready(HttpTargetSpec(**{"kind": "http", "ready": {"http": "/"}, **target}), str(tmp_path))


def test_a_server_with_an_authority_of_its_own(authority: Authority, server: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(authority.ca.read_bytes())
    with uvicorn_server(**server) as port:
        target = {"url": f"https://127.0.0.1:{port}", "ca_file": "ca.pem", "server_name": "shop.test"}
        assert not why_not(tmp_path, {**target, "ready": {"http": "/up"}})
        named = {"url": f"https://shop.test:{port}", "ca_file": "ca.pem", "connect_to": f"127.0.0.1:{port}"}
        good(run(tmp_path, named))
        assert "unknown authority (ca_file)" in why_not(tmp_path, {**target, "ca_file": None})
        wrong = why_not(tmp_path, {**target, "server_name": "else.test"})
        assert "the certificate is for another name than else.test" in wrong
        assert "for another name than 127.0.0.1" in why_not(tmp_path, {**target, "server_name": None})
        assert not why_not(tmp_path, {"url": target["url"], "verify_tls": False})


def test_a_server_that_asks_for_a_certificate(authority: Authority, server: dict[str, str], tmp_path: Path) -> None:
    certificate, key = authority.certificate("client")
    (tmp_path / "both.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    strict = {**server, "ssl_ca_certs": str(authority.ca), "ssl_cert_reqs": 2}
    with uvicorn_server(**strict) as port:
        target = {"url": f"https://127.0.0.1:{port}", "ca_file": str(authority.ca), "server_name": "shop.test"}
        good(run(tmp_path, {**target, "client_cert": [str(certificate), str(key)]}))
        assert not why_not(tmp_path, {**target, "client_cert": "both.pem", "ready": {"http": "/"}})
    with openssl_server(*map(Path, server.values()), "-Verify", "1", "-verify_return_error") as port:
        said = why_not(tmp_path, {"url": f"https://127.0.0.1:{port}", "verify_tls": False, "ready": {"http": "/"}})
        one = {"model": "closed", "concurrency": 1, "requests": 2}
        refused = run(tmp_path, {"url": f"https://127.0.0.1:{port}", "verify_tls": False}, load=one)
    assert "asks for a certificate of the client (client_cert)" in said
    (failure,) = refused.scenario("one").record.failures
    assert failure.error == "tls" and said in failure.texts


def test_a_unix_socket(tmp_path: Path, server: dict[str, str]) -> None:
    target = {"url": "http://shop.test/api?v=1", "unix_socket": "s"}
    assert "no socket at " in why_not(tmp_path, target)
    with uvicorn_server(heard := [], uds=str(tmp_path / "s")):
        made = run(tmp_path, {**target, "ready": {"http": "/up"}}, operations=[{"name": "a", "path": "/a?b={uuid}"}])
    good(made)
    assert {each["host"] for each in heard} == {"shop.test"}
    with uvicorn_server(uds=str(tmp_path / "t"), **server):
        tls = {"url": "https://shop.test", "unix_socket": "t", "verify_tls": False}
        assert not why_not(tmp_path, {**tls, "ready": {"http": "/"}})


@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_proxy_for_http_gets_whole_urls(keep_alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_PASSWORD", "p@ss/w")
    monkeypatch.setenv("PROXY_QUOTED", "p%40ss%2Fw")
    operations = [{"name": "a", "path": "/a?b={counter}"}, {"name": "raw", "path": "{path|raw}", "data": "paths.csv"}]
    (tmp_path / "paths.csv").write_text("path\n/x?y=z\n")
    with uvicorn_server() as port, proxy_server(heard := []) as through:
        proxy = f"http://anna:${{PROXY_QUOTED}}@127.0.0.1:{through}"
        target = {"url": f"http://shop.test:{port}/api", "proxy": proxy, "ready": {"http": "/up"}}
        made = run(tmp_path, {**target, "keep_alive": keep_alive}, operations=operations)
    good(made)
    requests = [head for head in b"".join(heard).split(b"\r\n\r\n") if head.startswith(b"GET")]
    credentials = base64.b64encode(b"anna:p@ss/w")
    assert len(requests) == 21  # with the look whether it is ready
    assert all(b"Proxy-Authorization: Basic " + credentials in head for head in requests)
    assert {head.split(b" ")[1].partition(b"?")[0] for head in requests} == {
        f"http://shop.test:{port}{path}".encode() for path in ("/up", "/api/a", "/api/x")
    }
    stored = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not any(b"p%40ss" in content or credentials in content for content in stored)


def test_a_proxy_for_https_is_asked_to_connect(authority: Authority, server: dict[str, str], tmp_path: Path) -> None:
    with uvicorn_server(**server) as port:
        target = {"url": f"https://shop.test:{port}", "ca_file": str(authority.ca)}
        with proxy_server(heard := []) as through:
            made = run(tmp_path, {**target, "proxy": f"http://u:p@127.0.0.1:{through}"})
            good(made)
            assert {head.split(b"\r\n")[0] for head in heard} == {f"CONNECT shop.test:{port} HTTP/1.1".encode()}
            assert all(b"Proxy-Authorization: Basic dTpw\r\n" in head for head in heard)
            spans = made.sql("select distinct span from spans")["span"].tolist()
            assert {"connect", "proxy", "tls"} <= set(spans)
        with proxy_server([], refuse="407 Proxy Authentication Required") as through:
            said = why_not(tmp_path, {**target, "proxy": f"http://127.0.0.1:{through}"})
    assert "does not connect to shop.test" in said and "407 Proxy Authentication Required" in said


def test_credentials_in_a_url_are_basic_and_its_query_is_kept(tmp_path: Path) -> None:
    with uvicorn_server(heard := []) as port:
        target = {"url": f"http://anna:s%20cret-word@127.0.0.1:{port}/api?key=1"}
        operations = [
            {"name": "a", "path": "/a?b=c", "expect": {"contains": "/api/a?key=1&b=c"}},
            {"name": "b", "path": "/b", "headers": {"authorization": "own"}, "expect": {"contains": "/api/b?key=1"}},
        ]
        made = run(tmp_path, target, operations=operations, order="interleaved")
    good(made)
    assert {each["authorization"] for each in heard} == {
        "own", f"Basic {base64.b64encode(b'anna:s cret-word').decode()}"
    }  # fmt: skip
    stored = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not any(b"cret-word" in content for content in stored)


def test_a_server_of_http_2_only_is_named(server: dict[str, str], tmp_path: Path) -> None:
    with openssl_server(*map(Path, server.values()), "-alpn", "h2") as port:
        said = why_not(tmp_path, {"url": f"https://127.0.0.1:{port}", "verify_tls": False})
    assert "perhaps it speaks HTTP/2 only" in said


@pytest.mark.parametrize("keep_alive", [True, False])
def test_the_reason_of_a_failed_connection_is_in_the_rows(
    keep_alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import perflib.load.session as session

    monkeypatch.setattr(session, "why_unready", lambda *_: "")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with uvicorn_server() as alive:
        wanted = {
            f"http://127.0.0.1:{port}": ("connect", f"connection refused by 127.0.0.1:{port}"),
            f"https://127.0.0.1:{alive}": ("tls", "the server does not speak TLS"),
        }
        made = perflib.Suite(
            name="tested",
            targets={f"t{n}": {"kind": "http", "url": url, "keep_alive": keep_alive} for n, url in enumerate(wanted)},
            scenarios=[{
                "name": "one", "order": "sequence", "load": {**LOAD, "concurrency": 1, "requests": 2},
                "operations": [{"name": f"t{n}", "target": f"t{n}", "path": "/"} for n in range(2)],
            }],
        )  # fmt: skip
        done = run_quietly(made, tmp_path)
    said = {failure.operation: (failure.error, *failure.texts) for failure in done.scenario("one").record.failures}
    assert said == {f"t{number}": why for number, why in enumerate(wanted.values())}


def test_a_run_says_why_its_target_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (reason,) = run(tmp_path, {"url": f"http://127.0.0.1:{port}"}).manifest.reasons
    assert f"nothing answers at http://127.0.0.1:{port}: connection refused by 127.0.0.1:{port}; start it" in reason


NETWORKS: list[tuple[dict[str, Any], str]] = [
    ({"url": "https://127.0.0.1:1", "ca_file": "none.pem"}, "targets.api.ca_file: cannot read none.pem: No such file"),
    ({"url": "https://127.0.0.1:1", "ca_file": "bad.pem"}, "targets.api.ca_file: cannot use bad.pem"),
    ({"url": "https://127.0.0.1:1", "client_cert": "bad.pem"}, "targets.api.client_cert: cannot use bad.pem"),
    ({"url": "https://127.0.0.1:1", "client_cert": ["a.pem", "b.key"]}, "cannot read a.pem and b.key: No such file"),
    ({"url": "https://127.0.0.1:1", "client_cert": ["a", "b", "c"]}, "not a certificate and its key"),
    ({"url": "http://127.0.0.1:1", "ca_file": "bad.pem"}, "'ca_file' is for TLS, and the url begins with http://"),
    ({"url": "http://127.0.0.1:1", "proxy": "socks5://127.0.0.1:1"}, "not the URL of an HTTP proxy"),
    ({"url": "http://127.0.0.1:1", "proxy": "http://${NOT_SET_HERE}@a"}, "NOT_SET_HERE is not set"),
    ({"url": "http://127.0.0.1:1", "connect_to": "127.0.0.1"}, "not a host and port: '127.0.0.1'"),
    ({"url": "http://127.0.0.1:1", "connect_to": "a:1", "proxy": "http://b"}, "both 'connect_to' and 'proxy'"),
    ({"url": "http://127.0.0.1:1", "connect_to": "far.example:80"}, "load on 'far.example', which is not this machine"),
    ({"url": "http://127.0.0.1:1", "proxy": "http://far.example"}, "load on 'far.example', which is not this machine"),
    ({"url": "http://far.example", "proxy": "http://127.0.0.1:1"}, "load on 'far.example', which is not this machine"),
    ({"kind": "mcp", "command": ["x"], "proxy": "http://a"}, "'proxy' without a URL"),
    ({"kind": "mcp", "url": "http://127.0.0.1:1", "client": "sdk", "proxy": "http://a"}, "SDK's client does not take"),
]


@pytest.mark.parametrize(("target", "said"), NETWORKS, ids=[said for _, said in NETWORKS])
def test_what_cannot_be_reached_as_it_is_written_is_one_line(target: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    operation = {"name": "a", "tool": "t"} if target.get("kind") == "mcp" else {"name": "a", "path": "/"}
    made = replace(suite({"kind": "http", **target}, operations=[operation]), folder=str(tmp_path))
    with pytest.raises(SuiteError) as caught:
        check(made)
    line = str(caught.value)
    assert said in line and "\n" not in line and caught.value.mend
