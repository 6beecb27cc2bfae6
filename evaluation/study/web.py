"""What all pages of a study share: who is asking, and from where."""

from __future__ import annotations

from fastapi import Request, Response
from itsdangerous import BadSignature, URLSafeSerializer

from evaluation.study.participation import Participation

COOKIE_SECONDS = 180 * 86400


class Signed:
    """Text that only who knows the study's secret can have written, for a cookie and links.

    Args:
        participation: the study. Its cookies are told from those of other studies on the same host by its key, which
            all of its servers know, whatever ports they listen at.
        purpose: what is signed for one purpose is worth nothing for another.
        public_url: where the study is reached; None is its own address.
    """

    def __init__(self, participation: Participation, purpose: str, public_url: str | None) -> None:
        self._serializer = URLSafeSerializer(participation.secret, salt=purpose)
        self._cookie, self._public_url = f"{purpose}_{participation.key}", public_url

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

    def of(self, request: Request) -> str | None:
        """The text in the cookie that came with a request; None when there is none that was signed here."""
        return self.read(request.cookies.get(self._cookie))

    def keep(self, response: Response, text: str, *, strict: bool = False) -> None:
        """Give the browser `text` in a cookie that no script reads and no other site's request carries along."""
        response.set_cookie(
            self._cookie,
            self.write(text),
            max_age=COOKIE_SECONDS,
            httponly=True,
            secure=(self._public_url or "").startswith("https://"),
            samesite="strict" if strict else "lax",
        )

    def link(self, request: Request, text: str) -> str:
        """A personal link with `text` in it."""
        return f"{(self._public_url or str(request.base_url)).rstrip('/')}/p/{self.write(text)}"
