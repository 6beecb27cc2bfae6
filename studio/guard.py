"""Who may talk to the studio, and how much they may say: checked before a request is read."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "rotationbench_studio"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Middleware that lets through what comes from the studio's own page, and refuses everything else.

    - A `Host` that is no name of the loopback is refused where the studio listens there: a name that somebody else
      points at this machine would make their page one of ours.
    - What changes something must come from our own origin, as far as the browser says where it comes from.
    - Where there is a token, it must be shown: once in the address, which leaves it in a cookie, or as a bearer.
    - A body of more than the limit is refused, whether its length is announced or not.

    Args:
        app: what is guarded.
        token: None asks for none.
        only_loopback: whether the studio listens on the loopback alone.
        most_bytes: of a request's body.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, only_loopback: bool, most_bytes: int) -> None:
        self.app, self.token, self.only_loopback, self.most_bytes = app, token, only_loopback, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        await self.app(scope, self._bounded(receive), send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that is not passed on; None for one that is."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.only_loopback and _name_of(host) not in LOOPBACK_NAMES:
            return _refusal(421, "expected the studio's own address in the header Host.")
        if scope["method"] not in SAFE_METHODS:
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
                return _refusal(403, "expected a request from the studio's own page.")
            if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return _refusal(403, "expected a request from the studio's own page.")
        if self.token is not None and (refusal := self._token_refusal(scope, headers)) is not None:
            return refusal
        try:
            announced = int(headers.get("content-length", "0"))
        except ValueError:
            return _refusal(400, "expected a number in the header Content-Length.")
        return _refusal(413, self._too_much()) if announced > self.most_bytes else None

    def _token_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["method"] == "GET" and scope["path"] == "/":
            shown = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if self._is_token(shown):
                answer = RedirectResponse("/", status_code=303)
                answer.set_cookie(COOKIE, shown, httponly=True, samesite="strict")
                return answer
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(bearer):
            return None
        try:
            cookie: Any = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        if cookie is not None and self._is_token(cookie.value):
            return None
        return _refusal(401, "expected the token; open the address that the studio printed when it was started.")

    def _is_token(self, shown: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(shown.encode(errors="surrogateescape"), self.token.encode())

    def _bounded(self, receive: Receive) -> Receive:
        taken = 0

        async def receive_bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most_bytes:
                raise HTTPException(413, self._too_much())
            return message

        return receive_bounded

    def _too_much(self) -> str:
        return f"expected a request of at most {self.most_bytes} bytes, got more."


def _name_of(host: str) -> str:
    """The name in a `Host` header, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _refusal(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status_code=status)
