"""Pages that are served to browsers: where they listen, and what all their requests and answers are held to.

FastAPI, Starlette and uvicorn come with the extras `studio` and `study`; only what serves pages imports this.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rotationbench.errors import ConfigError

BACKLOG = 1024
SECONDS_TO_HANG_UP = 2
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Middleware: requests come from our own pages and are small, and our pages load nothing from elsewhere.

    - What changes something must come from our own origin, as far as the browser says where it comes from (403).
    - A body of more than the limit is refused (413), whether its length is announced or not.
    - Answers forbid the browser to load, to send or to be framed anywhere else, and to keep them unless they allow it.

    A refusal says why in JSON under `detail`, as FastAPI's own do.

    Args:
        app: what is guarded.
        most_bytes: of a request's body.
        scripts: sources of scripts beside our own files.
        images: sources of pictures beside our own files.
        own_address: where browsers reach the server when a proxy stands before it.
    """

    def __init__(
        self, app: ASGIApp, *, most_bytes: int, scripts: str = "", images: str = "", own_address: str | None = None
    ) -> None:
        self.app, self.most_bytes = app, most_bytes
        self.proxied = None if own_address is None else _site_of(own_address)
        self.headers = {
            "Content-Security-Policy": (
                f"default-src 'none'; script-src 'self' {scripts}; style-src 'self'; img-src 'self' {images}; "
                "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI; websockets are not served."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        taken = 0

        async def receive_bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most_bytes:
                raise HTTPException(413, self._too_much)
            return message

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self.refusal(scope, Headers(scope=scope))
        await (self.app if refusal is None else refusal)(scope, receive_bounded, send_guarded)

    def refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that is not passed on, by its head; None for one that is."""
        if scope["method"] not in SAFE_METHODS:
            origin, ours = headers.get("origin"), (headers.get("host", "").lower(), self.proxied)
            elsewhere = origin is not None and _site_of(origin) not in ours
            if elsewhere or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return refused(403, "expected a request from our own page.")
        try:
            announced = int(headers.get("content-length", "0"))
        except ValueError:
            return refused(400, "expected a number in the header Content-Length.")
        return refused(413, self._too_much) if announced > self.most_bytes else None

    @property
    def _too_much(self) -> str:
        return f"expected a request of at most {self.most_bytes} bytes, got more."


def refused(status: int, sentence: str) -> Response:
    """A refusal with its reason."""
    return JSONResponse({"detail": sentence}, status_code=status)


def _site_of(address: str) -> str:
    """Host and port of an address; what is no address is itself."""
    try:
        return urlsplit(address).netloc.lower() or address
    except ValueError:
        return address


def listening(host: str, port: int, section: str) -> socket.socket:
    """A socket that listens at an address of this machine.

    Args:
        host: an address or a name.
        port: 0 takes one that is free.
        section: of the settings `host` and `port`, for messages.

    Raises:
        ConfigError: when the host is none of this machine, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{section}.host: expected an address of this machine, got {host!r}: {error}.") from error
    family, _, _, _, address = found[0]
    try:
        return socket.create_server((str(address[0]), port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"{section}.port: expected one that is free at {host}, got {port}: {error.strerror or error}."
        ) from error


def url_of(bound: socket.socket) -> str:
    """Where a listening socket is found, with a slash at the end."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class Server(uvicorn.Server):
    """Serves an application, trusts no forwarded header and logs nobody's address.

    Args:
        app: `app.state.is_closing` is set when the server begins to end: an answer that goes on and on ends then.
    """

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_level="warning",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=SECONDS_TO_HANG_UP,
            )
        )
        self._state = app.state

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        self._state.is_closing = True
        await super().shutdown(sockets)


def serve(app: Starlette, bound: socket.socket) -> None:
    """Answer requests at a listening socket until somebody interrupts the process; the socket is closed then."""
    with bound:
        try:
            Server(app).run(sockets=[bound])
        except KeyboardInterrupt:
            # That is how a server is ended.
            return
