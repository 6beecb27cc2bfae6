"""What all pages of a study share: who is asking, from where, and what a browser may do with what it gets."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException, Request, Response
from itsdangerous import BadSignature, URLSafeSerializer
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 64 * 1024
COOKIE_SECONDS = 180 * 86400


class Signed:
    """Text that only who knows the study's secret can have written, for cookies and links.

    Args:
        secret: the study's secret.
        purpose: what is signed for one purpose is worth nothing for another.
    """

    def __init__(self, secret: str, purpose: str) -> None:
        self._serializer = URLSafeSerializer(secret, salt=purpose)

    def write(self, text: str) -> str:
        """`text` with its signature, for a URL or a cookie."""
        return str(self._serializer.dumps(text))

    def read(self, signed: str | None) -> str | None:
        """The text in it; None when there is none, or the signature is not ours."""
        try:
            found = None if signed is None else self._serializer.loads(signed)
        except BadSignature:
            return None
        return found if isinstance(found, str) else None


class Guard:
    """What changes something comes from our own pages and is small, and our pages load nothing from elsewhere.

    Args:
        app: what answers the requests.
        scripts: sources of scripts beside our own files.
        own_address: where participants reach the server, when a proxy stands before it.
    """

    def __init__(self, app: ASGIApp, scripts: str, own_address: str | None) -> None:
        self.app = app
        self.proxied = None if own_address is None else urlsplit(own_address).netloc
        policy = (
            f"default-src 'none'; script-src 'self' {scripts}; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self.headers = {
            "Content-Security-Policy": policy,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST_BODY:
                raise HTTPException(413, f"Expected at most {LARGEST_BODY} bytes.")
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        sent = Headers(scope=scope)
        origin = sent.get("origin")
        ours = (sent.get("host"), self.proxied)
        if scope["method"] == "POST" and origin is not None and urlsplit(origin).netloc not in ours:
            return await PlainTextResponse("This request came from another page.", 403)(scope, receive, with_headers)
        return await self.app(scope, counted, with_headers)


def set_cookie(response: Response, name: str, value: str, *, secure: bool, strict: bool = False) -> None:
    """Give the browser a cookie that no script reads and no other site's request carries along."""
    options: dict[str, Any] = {"samesite": "strict" if strict else "lax"}
    response.set_cookie(name, value, max_age=COOKIE_SECONDS, httponly=True, secure=secure, **options)


def own_url(request: Request, public_url: str | None) -> str:
    """Where the study is reached, with a slash at its end."""
    return (public_url or str(request.base_url)).rstrip("/") + "/"
