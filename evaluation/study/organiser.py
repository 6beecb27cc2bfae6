"""The organiser's page: who takes part, what speaks against their answers, links, export, and an end to it."""

from __future__ import annotations

import csv
import hmac
import secrets
import time
from typing import Any

import pandas as pd
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from evaluation.study.answers import Answers, flat, read_answers
from evaluation.study.participation import Participation
from evaluation.study.schema import Participant, Seat, Study
from evaluation.study.web import Signed

ORGANISER = "organiser"
MOST_LINKS = 500
HOUR = 3600


class Token(BaseModel):
    """What lets the organiser in."""

    model_config = ConfigDict(extra="forbid")
    token: str = Field(max_length=200)


class Links(BaseModel):
    """How many personal links are wanted."""

    model_config = ConfigDict(extra="forbid")
    count: int = Field(ge=1, le=MOST_LINKS)


class Closing(BaseModel):
    """Whether the study is to be closed."""

    model_config = ConfigDict(extra="forbid")
    closed: bool


def organiser_token(secret: str) -> str:
    """The token of a study's organiser: whoever knows the study's secret knows it."""
    return hmac.digest(secret.encode(), b"organiser", "sha256").hex()[:40]


def organiser_router(participation: Participation, page: str, public_url: str | None) -> APIRouter:
    """The organiser's page and what it asks for; all but the page itself needs the token, or the cookie it is worth.

    Args:
        participation: the study.
        page: the page.
        public_url: where participants reach the server; None is its own address.
    """
    router = APIRouter()
    token = organiser_token(participation.secret)
    own, people = Signed(participation, ORGANISER, public_url), Signed(participation, "participant", public_url)

    def let_in(request: Request) -> None:
        if own.of(request) != ORGANISER:
            raise HTTPException(401, "Expected the organiser's token.")

    def answers() -> tuple[Answers, float | None, dict[str, Any]]:
        with participation.database.reading() as session:
            study = session.get_one(Study, 1)
            free = len(session.scalars(select(Seat.questionnaire).where(Seat.participant.is_(None))).all())
            facts = {
                "kind": study.kind,
                "labels": study.labels,
                "created": study.created,
                "seats": len(participation.questionnaires),
                "free": free,
            }
            return read_answers(session), study.closed, facts

    known = [Depends(let_in)]

    @router.get("/organiser")
    def organiser_page() -> Response:
        return HTMLResponse(page)

    @router.post("/api/organiser/enter")
    def enter(content: Token, response: Response) -> dict[str, bool]:
        if not hmac.compare_digest(content.token.encode(), token.encode()):
            raise HTTPException(403, "This is not the organiser's token.")
        own.keep(response, ORGANISER, strict=True)
        return {"known": True}

    @router.get("/api/organiser/overview", dependencies=known)
    def overview() -> dict[str, Any]:
        found, closed, facts = answers()
        return facts | {"closed": closed, "now": time.time(), "answers": len(found.table)} | _overview(found)

    @router.post("/api/organiser/links", dependencies=known)
    def links(request: Request, content: Links) -> list[str]:
        made = [secrets.token_urlsafe(12) for _ in range(content.count)]
        with participation.database.writing() as session:
            session.add_all(Participant(id=who, origin="page", invited=time.time()) for who in made)
        return [people.link(request, who) for who in made]

    @router.post("/api/organiser/close", dependencies=known)
    def close(content: Closing) -> dict[str, bool]:
        with participation.database.writing() as session:
            session.get_one(Study, 1).closed = time.time() if content.closed else None
        return {"closed": content.closed}

    @router.get("/api/organiser/answers.csv", dependencies=known)
    def as_csv() -> Response:
        # Results bring torch along, which a server has no other use for.
        from rotationbench.results.table import harmless  # noqa: PLC0415

        text = harmless(flat(answers()[0])).to_csv(index=False, quoting=csv.QUOTE_MINIMAL)
        return _download(text, "text/csv", "answers.csv")

    @router.get("/api/organiser/answers.json", dependencies=known)
    def as_json() -> Response:
        found, _, facts = answers()
        content = facts | {"participants": _records(found.participants), "answers": _records(found.table)}
        response = JSONResponse(content)
        response.headers["Content-Disposition"] = 'attachment; filename="answers.json"'
        return response

    return router


def _overview(found: Answers) -> dict[str, Any]:
    people = found.participants
    hours = (found.table["answered"] // HOUR * HOUR).value_counts().sort_index()
    return {
        "participants": _records(people),
        "finished": int(people["finished"].notna().sum()),
        "left_out": int((people["reasons"] != "").sum()),
        "withdrew": int(people["withdrew"].notna().sum()),
        "hours": [[float(hour), int(count)] for hour, count in hours.items()],
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON, which has no NaN."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _download(text: str, kind: str, name: str) -> Response:
    return Response(text, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
