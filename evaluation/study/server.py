"""The server of a study: the pages and what the participant's page asks for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated

from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError

from evaluation.study import pages
from evaluation.study.organiser import organiser_router
from evaluation.study.participation import LONGEST_SECONDS, Participation, RefusedError, State
from evaluation.study.schema import Participant, Picture
from evaluation.study.settings import MOST_LABELS, MOST_QUESTIONS, StudySettings
from evaluation.study.texts import Texts
from evaluation.study.web import Signed
from rotationbench.serving import Guard

log = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024
KEPT_PICTURES = 256
"""Pictures that are kept in memory."""
FILES = {f"{module}.js": "text/javascript" for module in pages.MODULES} | {
    "study.css": "text/css",
    "icon.svg": "image/svg+xml",
}


class Begin(BaseModel):
    """Consent, in the language that it was read in."""

    model_config = ConfigDict(extra="forbid")
    language: str = Field(max_length=16)


class Reply(BaseModel):
    """An answer; see `Participation.answer`."""

    model_config = ConfigDict(extra="forbid")
    place: int = Field(ge=0, lt=3 * MOST_QUESTIONS)
    chosen: list[int] = Field(max_length=MOST_LABELS)
    seconds: float = Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)


def make_app(participation: Participation, settings: StudySettings, texts: Mapping[str, Texts]) -> FastAPI:
    """The web application of a study.

    Args:
        participation: the study.
        settings: title and addresses.
        texts: what the page says, by language.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page, allowed = pages.linked_page("participant", settings.title, {"title": settings.title, "texts": dict(texts)})
    app.add_middleware(Guard, most_bytes=LARGEST_BODY, scripts=allowed, own_address=settings.public_url)
    organiser, _ = pages.linked_page("organiser", f"{settings.title} · organiser", {"title": settings.title})
    app.include_router(organiser_router(participation, organiser, settings.public_url))
    people = Signed(participation, "participant", settings.public_url)

    def answered(request: Request, state: State, known: str | None) -> State:
        if known is not None and state["state"] == "question":
            state["link"] = people.link(request, known)
        return state

    @app.exception_handler(SQLAlchemyError)
    def unreachable(_: Request, error: SQLAlchemyError) -> Response:
        # Nothing of the request is logged: it could tell who asked.
        log.warning("The database did not answer: %s", " ".join(str(error.args[0] if error.args else error).split()))
        return JSONResponse({"detail": "The database does not answer. Try again."}, 503)

    @app.exception_handler(RefusedError)
    def refused(_: Request, error: RefusedError) -> Response:
        return JSONResponse({"detail": str(error)}, 409)

    @app.get("/")
    def participant_page() -> Response:
        return HTMLResponse(page)

    @app.get("/pages/{name}")
    def page_file(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404)
        content = (pages.FOLDER / name).read_bytes()
        return Response(content, media_type=FILES[name], headers={"Cache-Control": "no-cache"})

    @lru_cache(maxsize=KEPT_PICTURES)
    def content_of(token: str) -> bytes | None:
        with participation.database.reading() as session:
            picture = session.get(Picture, token)
            return None if picture is None else picture.content

    @app.get("/picture/{token}.webp")
    def picture(token: str) -> Response:
        content = content_of(token)
        if content is None:
            raise HTTPException(404)
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(content, media_type="image/webp", headers=headers)

    @app.get("/p/{link}")
    def personal_link(link: str) -> Response:
        known = people.read(link)
        with participation.database.reading() as session:
            if known is None or session.get(Participant, known) is None:
                return HTMLResponse(
                    "<!doctype html><title>Unknown link</title><p>This link belongs to no one.</p>", 404
                )
        response = RedirectResponse("../", 303)
        people.keep(response, known)
        return response

    @app.get("/api/state")
    def state(request: Request) -> State:
        known = people.of(request)
        return answered(request, participation.state(known), known)

    @app.post("/api/begin")
    def begin(request: Request, response: Response, content: Begin) -> State:
        if content.language not in texts:
            raise HTTPException(422, f"Expected a language among {', '.join(texts)}.")
        known, found = participation.join(people.of(request), content.language)
        if known is not None:
            people.keep(response, known)
        return answered(request, found, known)

    @app.post("/api/answer")
    def answer(request: Request, reply: Reply) -> State:
        known = people.of(request)
        return answered(request, participation.answer(known, reply.place, reply.chosen, reply.seconds), known)

    @app.post("/api/withdraw")
    def withdraw(request: Request, _: Annotated[dict, Body(max_length=0)]) -> State:
        return participation.withdraw(people.of(request))

    return app
