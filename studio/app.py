"""The studio's pages and interface, as an ASGI application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

from evaluation.metrics import METRICS
from rotationbench import __version__
from rotationbench.errors import ConfigError, DatasetError, ResultsError, RotationBenchError
from rotationbench.names import LONGEST_NAME_BYTES
from rotationbench.sample import DragSample
from studio.annotation import Annotation, Strict, annotation_of, annotation_of_config, sample_of
from studio.edits import Workshop
from studio.forms import chosen_method
from studio.guard import StudioGuard
from studio.jobs import Board, QueueFullError
from studio.library import Library, NameTakenError
from studio.pictures import PictureShelf, UploadError, png_of, text_of_mask, thumbnail_of
from studio.settings import StudioConfig

PAGE = Path(__file__).parent / "page"
THUMBNAIL_SIDE = 160
POLLING_SECONDS = 0.1
SILENCE_SECONDS = 15.0
MOST_LISTENERS = 256
KEPT_BY_CONTENT = {"Cache-Control": "private, max-age=31536000, immutable"}
KEPT_BRIEFLY = {"Cache-Control": "private, max-age=60"}

STATUSES: dict[type[RotationBenchError], int] = {
    NameTakenError: 409,
    QueueFullError: 429,
    UploadError: 422,
    ConfigError: 422,
    DatasetError: 422,
    ResultsError: 507,
}


class SaveRequest(Strict):
    """A sample to be saved; `overwrite` lets it replace one of the same name."""

    annotation: Annotation
    overwrite: bool = False


class EditRequest(Strict):
    """An edit to be made: of what, by which method, with what changed among its settings."""

    annotation: Annotation
    method: str = Field(max_length=LONGEST_NAME_BYTES)
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**32)


def create_app(settings: StudioConfig, workshop: Workshop, token: str | None) -> FastAPI:
    """The application.

    Args:
        settings: the checked settings.
        workshop: makes the edits.
        token: what a browser has to show; None asks for nothing.

    Raises:
        ConfigError: when a folder cannot be used.
    """
    studio = settings.studio
    library = Library(Path(studio.samples), studio.data)
    pictures = PictureShelf(studio.most_pictures, studio.most_pixels)
    board = Board(workshop.make, studio.most_waiting)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        board.start()
        yield
        await asyncio.to_thread(board.close)
        pictures.close()

    app = FastAPI(title="RotationBench studio", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(StudioGuard, token=token, only_loopback=studio.is_loopback, most_bytes=studio.most_upload_bytes)
    app.state.is_closing = False
    _answer_errors(app)
    _add_page(app)
    _add_about(app, settings, workshop, library)
    _add_samples(app, library, pictures)
    _add_uploads(app, pictures)
    _add_jobs(app, workshop, board, library, pictures)
    _add_results(app, workshop)
    return app


def _answer_errors(app: FastAPI) -> None:
    """Every refusal is one line under `detail`."""

    @app.exception_handler(RotationBenchError)
    async def refused(request: Request, error: RotationBenchError) -> JSONResponse:
        status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)
        text = "; ".join(error.problems) if isinstance(error, DatasetError) else " ".join(str(error).split())
        return JSONResponse({"detail": text}, status_code=status)

    @app.exception_handler(RequestValidationError)
    async def misread(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return JSONResponse({"detail": f"{place}: {first['msg']}."[:500]}, status_code=422)


def _add_page(app: FastAPI) -> None:
    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/page", StaticFiles(directory=PAGE))


def _add_about(app: FastAPI, settings: StudioConfig, workshop: Workshop, library: Library) -> None:
    @app.get("/api/about")
    def about() -> dict[str, Any]:
        studio = settings.studio
        return {
            "version": __version__,
            "model": settings.model.name,
            "resolution": settings.model.resolution,
            "seed": settings.seed,
            "method": settings.method.get("name"),
            "samples": library.writable.name,
            "samples_folder": str(library.writable.root),
            "results_folder": str(workshop.store.root),
            "datasets": [
                {"name": shelf.name, "writable": shelf.writable, "folder": str(shelf.root)}
                for shelf in library.shelves.values()
            ],
            "methods": [offered.form for offered in workshop.offered.values()],
            "metrics": [{"name": metric.name, "title": metric.title} for metric in METRICS],
            "most_upload_bytes": studio.most_upload_bytes,
            "most_pixels": studio.most_pixels,
        }


def _add_samples(app: FastAPI, library: Library, pictures: PictureShelf) -> None:
    @app.get("/api/datasets/{dataset}")
    def listed(dataset: str) -> dict[str, Any]:
        found = library.shelf(dataset).listed()
        return {
            "name": dataset,
            "format": None if found is None else found.form.name,
            "samples": [] if found is None else found.names,
        }

    @app.get("/api/datasets/{dataset}/{sample}")
    def opened(dataset: str, sample: str) -> dict[str, Any]:
        found = library.read(dataset, sample)
        kept, _ = pictures.keep(found.image)
        return annotation_of(found, kept) | {"origin": {"dataset": dataset, "sample": sample}}

    @app.get("/api/datasets/{dataset}/{sample}/thumbnail")
    def thumbnail(dataset: str, sample: str) -> Response:
        found = library.read(dataset, sample)
        return Response(thumbnail_of(found.image, THUMBNAIL_SIDE), media_type="image/jpeg", headers=KEPT_BRIEFLY)

    @app.post("/api/samples", status_code=201)
    def save(request: SaveRequest) -> dict[str, Any]:
        sample, left_out = sample_of(request.annotation, pictures, _origin(request.annotation, library))
        library.save(sample, overwrite=request.overwrite)
        origin = {"dataset": library.writable.name, "sample": sample.name}
        return {"name": sample.name, "digest": sample.digest, "left_out": left_out, "origin": origin}


def _origin(annotation: Annotation, library: Library) -> DragSample | None:
    origin = annotation.origin
    return None if origin is None else library.read(origin.dataset, origin.sample)


def _add_uploads(app: FastAPI, pictures: PictureShelf) -> None:
    @app.post("/api/pictures", status_code=201)
    async def take(request: Request) -> dict[str, Any]:
        content = await request.body()
        name, (height, width) = await asyncio.to_thread(pictures.take, content)
        return {"picture": name, "height": height, "width": width}

    @app.get("/api/pictures/{name}")
    def picture(name: str) -> Response:
        try:
            content = pictures.content(name)
        except UploadError as error:
            raise HTTPException(404, str(error)) from error
        return Response(content, media_type="image/png", headers=KEPT_BY_CONTENT)

    @app.post("/api/masks")
    async def mask(
        request: Request, height: Annotated[int, Query(ge=1, le=2**16)], width: Annotated[int, Query(ge=1, le=2**16)]
    ) -> dict[str, Any]:
        content = await request.body()
        return {"mask": text_of_mask(await asyncio.to_thread(pictures.mask_of_upload, content, (height, width)))}

    @app.post("/api/configs")
    async def config(request: Request) -> dict[str, Any]:
        return annotation_of_config(await request.body())


def _add_jobs(app: FastAPI, workshop: Workshop, board: Board, library: Library, pictures: PictureShelf) -> None:
    listeners = 0

    @app.post("/api/jobs", status_code=202)
    def submit(request: EditRequest) -> dict[str, Any]:
        offered = workshop.offered.get(request.method)
        if offered is None:
            raise ConfigError(f"method: expected one of {', '.join(workshop.offered)}, got {request.method!r:.80}.")
        method, config = chosen_method(offered, request.settings)
        sample, _ = sample_of(request.annotation, pictures, _origin(request.annotation, library))
        if fault := workshop.editor(method, config, request.seed).size_fault(sample):
            raise UploadError(f"the picture: {fault}")
        expected = workshop.expected_evaluations(method)
        return board.submit(sample, request.method, method, config, request.seed, expected)

    @app.get("/api/jobs")
    def jobs() -> dict[str, Any]:
        version, told = board.changes()
        return {"version": version, "jobs": told}

    @app.post("/api/jobs/{number}/cancel")
    def cancel(number: int) -> dict[str, Any]:
        told = board.cancel(number)
        return _missing(f"edit {number}") if told is None else told

    @app.get("/api/events")
    async def events() -> StreamingResponse:
        if listeners >= MOST_LISTENERS:
            raise HTTPException(503, f"expected at most {MOST_LISTENERS} listeners, got another.")
        return StreamingResponse(stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def stream() -> AsyncIterator[str]:
        nonlocal listeners
        listeners += 1
        try:
            version, steps_seen, silent = 0, {}, 0.0  # type: int, dict[int, int], float
            yield "retry: 1000\n\n"
            while not app.state.is_closing:
                version, told = board.changes(version, steps_seen)
                if told:
                    silent = 0.0
                    yield f"event: jobs\ndata: {json.dumps(told)}\n\n"
                elif silent >= SILENCE_SECONDS:
                    # Tells a connection that is gone from one where nothing happens.
                    silent = 0.0
                    yield ": nothing happens\n\n"
                await asyncio.sleep(POLLING_SECONDS)
                silent += POLLING_SECONDS
        finally:
            listeners -= 1


def _add_results(app: FastAPI, workshop: Workshop) -> None:
    @app.get("/api/results")
    def listed() -> dict[str, Any]:
        return {"edits": workshop.listed()}

    @app.get("/api/results.zip")
    def archive(sample: Annotated[list[str] | None, Query(max_length=100)] = None) -> Response:
        edits = [edit for edit in workshop.store.edits() if edit.done and (not sample or edit.sample_name in sample)]
        if not edits:
            _missing("an edit to be downloaded")
        headers = {"Content-Disposition": 'attachment; filename="results.zip"'}
        return Response(workshop.archive(edits), media_type="application/zip", headers=headers)

    @app.get("/api/results/{label}/{sample}/edited")
    def edited(label: str, sample: str) -> Response:
        edit = _found(label, sample)
        return Response((edit.folder / "edited.png").read_bytes(), media_type="image/png", headers=KEPT_BRIEFLY)

    @app.get("/api/results/{label}/{sample}/source")
    def source(label: str, sample: str) -> Response:
        kept = workshop.store.sample(_found(label, sample).sample_name)
        return Response(png_of(kept.image), media_type="image/png", headers=KEPT_BRIEFLY)

    def _found(label: str, sample: str) -> Any:
        try:
            return workshop.find(label, sample)
        except DatasetError as error:
            raise HTTPException(404, "; ".join(error.problems)) from error


def _missing(what: str) -> NoReturn:
    raise HTTPException(404, f"expected {what}, found none.")
