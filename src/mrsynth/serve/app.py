"""The page's addresses. Nothing of a visit can be asked for without its unguessable name."""

from __future__ import annotations

import errno
import hmac
import io
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.concurrency import run_in_threadpool

from mrsynth.core.errors import InputError, MrsynthError
from mrsynth.core.types import CONTRASTS
from mrsynth.drawing.templates import render
from mrsynth.serve.make import CASE, Asked, make, models, offers, recognise, why_not
from mrsynth.serve.unpack import place_of, unpack
from mrsynth.serve.visits import Visit, Visits

COOKIE = "mrsynth_token"

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}


@dataclass(frozen=True)
class Serving:
    """What is served.

    Attributes:
        runs: name → run folder.
        visits: where the files of visitors lie.
        max_bytes: of what one visit sends, packed and unpacked.
        token: that a visitor must know; None on loopback.
        hosts: what a browser may call this machine; another page that has its name changed to this address is refused.
    """

    runs: Mapping[str, Path]
    visits: Visits
    max_bytes: int
    token: str | None = None
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")


def build_app(serving: Serving) -> FastAPI:
    """Return the application."""
    worker = ThreadPoolExecutor(1, "synthesize")  # one image at a time: a network takes all cores and much memory

    @asynccontextmanager
    async def _lifetime(_: FastAPI) -> AsyncIterator[None]:
        yield
        worker.shutdown(wait=True, cancel_futures=True)
        serving.visits.end_all()

    app = FastAPI(lifespan=_lifetime, docs_url=None, redoc_url=None, openapi_url=None)
    _guard(app, serving)
    _receiving(app, serving)
    _making(app, serving, worker)
    _showing(app, serving)
    return app


def _guard(app: FastAPI, serving: Serving) -> None:
    """Refuse who may not ask, and answer errors in words."""

    @app.middleware("http")
    async def _only_who_may(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if why := _why_refused(request, serving):
            return JSONResponse({"error": why}, 403, HEADERS)
        response = await answer(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if serving.token and request.query_params.get("token"):
            response.set_cookie(COOKIE, serving.token, httponly=True, samesite="strict")
        return response

    @app.exception_handler(MrsynthError)
    async def _in_words(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error).replace(f"{serving.visits.folder}/", "")}, 422)

    @app.exception_handler(OSError)
    async def _disk(_: Request, error: Exception) -> Response:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        words = "The disk of this machine is full." if full else "The file cannot be written."
        return JSONResponse({"error": words}, 507 if full else 422)


def _receiving(app: FastAPI, serving: Serving) -> None:
    """Take what visitors send and say what it is."""

    @app.get("/")
    def _front() -> HTMLResponse:
        return HTMLResponse(_page(serving))

    @app.post("/visits")
    def _begin() -> dict[str, str]:
        return {"visit": serving.visits.begin().name}

    @app.put("/visits/{name}/files")
    async def _take(name: str, file: str, request: Request) -> dict[str, int]:
        visit = _visit(serving, name)
        if visit.is_busy:
            raise InputError("An image is being made of this visit's scans.", do="begin another visit")
        await _receive(visit, file, request, serving.max_bytes)
        return {"received": visit.received}

    @app.post("/visits/{name}/recognise")
    def _look(name: str) -> dict[str, Any]:
        visit = _visit(serving, name)
        with visit.lock:
            for archive in [path for path in visit.scans.rglob("*") if zipfile.is_zipfile(path)]:
                unpack(archive, archive.with_name(f"{archive.stem}-unpacked"), serving.max_bytes)
                archive.unlink()
            return {"images": recognise(visit)}

    @app.delete("/visits/{name}")
    def _end(name: str) -> dict[str, str]:
        serving.visits.end(name)
        return {"state": "ended"}


def _making(app: FastAPI, serving: Serving, worker: Executor) -> None:
    """Say what can be made, make it, and say how far it is."""
    offered = offers(serving.runs)

    @app.post("/visits/{name}/targets")
    def _targets(name: str, contrasts: Annotated[dict[int, str], Body(embed=True)]) -> dict[str, str]:
        _visit(serving, name)
        return {model: why_not(offer, contrasts) for model, offer in offered.items()}

    @app.post("/visits/{name}/make")
    def _make(
        name: str,
        model: Annotated[str, Body()],
        contrasts: Annotated[dict[int, str], Body()],
        dose: Annotated[float | None, Body()] = None,
        b0_tesla: Annotated[float | None, Body()] = None,
    ) -> dict[str, str]:
        visit = _visit(serving, name)
        if model not in offered:
            raise HTTPException(404, "no such model")
        with visit.lock:
            if visit.state not in ("open", "failed"):
                raise InputError("An image is being made of this visit's scans, or is there.", do="begin another visit")
            visit.state, visit.words = "waiting", "waiting for the image before"
        worker.submit(_work, serving.visits, visit, Asked(offered[model], contrasts, dose, b0_tesla))
        return {"state": visit.state}

    @app.get("/visits/{name}")
    def _progress(name: str) -> dict[str, Any]:
        visit = _visit(serving, name)
        return {"state": visit.state, "words": visit.words, "dicom": _dicom(visit) is not None}


def _showing(app: FastAPI, serving: Serving) -> None:
    """Show the image, and let it be downloaded."""

    @app.get("/visits/{name}/view/{file}")
    def _view(name: str, file: str) -> FileResponse:
        visit = _done(serving, name)
        kinds = {
            "viewer.html": (visit.folder / "viewer.html", "text/html"),
            f"{CASE}.js": (visit.folder / "viewer" / f"{CASE}.js", "text/javascript"),
        }
        if file not in kinds:
            raise HTTPException(404, "there is no such file")
        path, kind = kinds[file]
        return FileResponse(path, media_type=kind)

    @app.get("/visits/{name}/result.nii.gz")
    def _nifti(name: str) -> FileResponse:
        visit = _done(serving, name)
        assert visit.result is not None
        return FileResponse(visit.result, media_type="application/gzip", filename=f"SYNTHETIC-{visit.result.name}")

    @app.get("/visits/{name}/result-dicom.zip")
    async def _series(name: str) -> Response:
        folder = _dicom(_done(serving, name))
        if folder is None:
            raise HTTPException(404, "the scans were not DICOM")
        content = await run_in_threadpool(_zipped, folder)
        said = {"Content-Disposition": f'attachment; filename="SYNTHETIC-{folder.name}.zip"'}
        return Response(content, media_type="application/zip", headers=said)


def _why_refused(request: Request, serving: Serving) -> str:
    """Return why a request is not answered, nothing where it is."""
    host = request.headers.get("host", "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name not in serving.hosts:
        return "This page is served under another name."
    origin = request.headers.get("origin")
    if origin is not None and origin.split("://")[-1] != host:
        return "Another page asks for this."
    if serving.token is not None:
        given = request.query_params.get("token") or request.cookies.get(COOKIE) or ""
        if not hmac.compare_digest(given.encode(), serving.token.encode()):
            return "Open the address that mrsynth serve printed: it holds the token."
    return ""


def _visit(serving: Serving, name: str) -> Visit:
    try:
        return serving.visits.get(name)
    except KeyError:
        raise HTTPException(404, "This visit has ended; its files are deleted.") from None


def _done(serving: Serving, name: str) -> Visit:
    visit = _visit(serving, name)
    if visit.state != "done":
        raise HTTPException(404, "The image is not there yet.")
    return visit


def _dicom(visit: Visit) -> Path | None:
    """Return the folder of a visit's DICOM series, None where none was made."""
    return next(iter(sorted(visit.out.glob("*-dicom"))), None) if visit.out.is_dir() else None


async def _receive(visit: Visit, file: str, request: Request, max_bytes: int) -> None:
    """Write a request's content to a new file of a visit, as far as it is allowed."""
    declared = request.headers.get("content-length", "0")
    path = place_of(visit.scans, file)
    if path.exists():
        raise InputError("Two files have one name.", found=repr(file[:200]), do="send them in folders of their own")
    path.parent.mkdir(parents=True, exist_ok=True)
    too_large = InputError(
        "The files are too large.",
        expected=f"at most {max_bytes / 2**20:.0f} MiB a visit",
        do="send one study alone, or start mrsynth serve with a larger --max-mib",
    )
    if not declared.isdigit() or visit.received + int(declared) > max_bytes:
        raise too_large
    try:
        with path.open("xb") as target:
            async for chunk in request.stream():
                visit.received += len(chunk)
                if visit.received > max_bytes:
                    raise too_large
                target.write(chunk)
    except BaseException:  # half a file is none, also where the visitor has left
        path.unlink(missing_ok=True)
        raise


def _work(visits: Visits, visit: Visit, asked: Asked) -> None:
    with visits.working(visit):
        make(visit, asked)


def _zipped(folder: Path) -> bytes:
    """Return the files of a folder as an archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, f"{folder.name}/{path.name}")
    return content.getvalue()


def _page(serving: Serving) -> str:
    """Return the page itself."""
    return render(
        "serve.html.j2",
        models=models(offers(serving.runs)),
        contrasts=[*CONTRASTS, "brain"],
        keep=int(serving.visits.keep_s // 60),
    )
