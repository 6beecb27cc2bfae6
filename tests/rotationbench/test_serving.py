"""Where pages are served, and what every request is held to before it is read."""

from __future__ import annotations

import socket

import pytest

pytest.importorskip("fastapi", reason="pages need pip install 'rotationbench[studio]'")

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from rotationbench.errors import ConfigError
from rotationbench.serving import Guard, listening, url_of


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.add_middleware(Guard, most_bytes=100, scripts="'sha256-abc'", own_address="https://pages.example/one")

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.get("/size")
    def nothing() -> int:
        return 0

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://testserver", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "https://PAGES.example"}, 200),
        ({"origin": "http://elsewhere.example"}, 403),
        ({"origin": "http://testserver:1"}, 403),
        ({"origin": "null", "host": ""}, 403),
        ({"origin": "http://["}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-length": "many"}, 400),
        ({"content-length": "101"}, 413),
    ],
)
def test_what_changes_something_comes_from_our_own_pages_and_is_small(client, headers, status):
    answer = client.post("/size", content=b"x" * 100, headers=headers)
    assert answer.status_code == status
    assert status == 200 or answer.json()["detail"].startswith("expected ")
    assert client.get("/size", headers={"origin": "http://elsewhere.example"}).status_code == 200


def test_bodies_whose_length_nobody_announced_are_measured_as_they_come(client):
    assert client.post("/size", content=(b"x" * 10 for _ in range(10))).json() == 100
    answer = client.post("/size", content=(b"x" * 10 for _ in range(11)))
    assert answer.status_code == 413 and "at most 100 bytes" in answer.json()["detail"]


def test_every_answer_forbids_the_browser_to_load_from_elsewhere(client):
    for answer in (client.get("/size"), client.get("/nowhere"), client.post("/size", headers={"origin": "null"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self' 'sha256-abc'; " in policy
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"


def test_an_address_that_is_taken_or_not_ours_is_one_line():
    with listening("localhost", 0, "pages") as taken:
        port = taken.getsockname()[1]
        assert url_of(taken) in (f"http://127.0.0.1:{port}/", f"http://[::1]:{port}/")
    with listening("127.0.0.1", 0, "pages") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"^pages\.port: expected one that is free at \S+, got {port}: "):
            listening("127.0.0.1", port, "pages")
    with pytest.raises(ConfigError, match=r"^pages\.(host|port): "):
        listening("192.0.2.1", 0, "pages")
    for host in ("no.such.name.invalid", "a" * 70 + ".example", ""):
        with pytest.raises(ConfigError, match=r"^pages\.host: expected an address of this machine, got"):
            listening(host, 0, "pages")


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_an_address_of_six_is_written_in_brackets():
    try:
        bound = listening("::1", 0, "pages")
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    with bound:
        assert url_of(bound) == f"http://[::1]:{bound.getsockname()[1]}/"
