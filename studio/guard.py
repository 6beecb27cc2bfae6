"""Who may talk to the studio: checked before a request is read."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Scope

from rotationbench.serving import Guard, refused

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


class StudioGuard(Guard):
    """Lets through what comes from the studio's own page, and refuses everything else.

    - A `Host` that is no name of the loopback is refused where the studio listens there: a name that somebody else
      points at this machine would make their page one of ours.
    - Where there is a token, it must be shown: once in the address, which leaves it in a cookie, or as a bearer.

    Args:
        app: what is guarded.
        token: None asks for none.
        only_loopback: whether the studio listens on the loopback alone.
        most_bytes: of a request's body.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, only_loopback: bool, most_bytes: int) -> None:
        super().__init__(app, most_bytes=most_bytes, images="blob: data:")
        self.token, self.only_loopback = token, only_loopback

    def refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """See `Guard.refusal`."""
        if self.only_loopback and _name_of(headers.get("host", "")) not in LOOPBACK_NAMES:
            return refused(421, "expected the studio's own address in the header Host.")
        found = super().refusal(scope, headers)
        return found if found is not None or self.token is None else self._token_refusal(scope, headers)

    def _token_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        # Browsers send a cookie to every port of a host: each studio there needs one of its own.
        name = f"rotationbench_studio_{scope['server'][1]}"
        if scope["method"] == "GET" and scope["path"] == "/":
            shown = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if self._is_token(shown):
                answer = RedirectResponse("/", status_code=303)
                answer.set_cookie(name, shown, httponly=True, samesite="strict")
                return answer
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(bearer):
            return None
        try:
            cookie: Any = SimpleCookie(headers.get("cookie", "")).get(name)
        except CookieError:
            cookie = None
        if cookie is not None and self._is_token(cookie.value):
            return None
        return refused(401, "expected the token; open the address that the studio printed when it was started.")

    def _is_token(self, shown: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(shown.encode(errors="surrogateescape"), self.token.encode())


def _name_of(host: str) -> str:
    """The name in a `Host` header, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
