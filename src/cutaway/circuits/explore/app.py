"""The pages and answers over HTTP. Work runs in a thread; what it may cost is bounded in question.py and turns.py."""

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from cutaway.circuits.explore.page import Asset, assets, page
from cutaway.circuits.explore.question import Question, head_of
from cutaway.circuits.explore.security import Door, RefusedError, Wall, read_json
from cutaway.circuits.explore.setup import Setup
from cutaway.circuits.explore.turns import CrowdedError, SupersededError, Turns
from cutaway.core.errors import CutawayError

Work = Callable[[Callable[[], None]], Any]
"""What is done for a request, given a check that ends it."""


def application(setup: Setup, door: Door) -> Wall:
    """Everything that the explorer serves, behind its door."""
    files = assets()
    service = Service(setup)
    routes = [
        Route("/", _fixed(HTMLResponse(page(setup)))),
        *(Route(path, _fixed(_file(asset))) for path, asset in files.items()),
        *(
            Route(f"/{name}", getattr(service, name), methods=["POST"])
            for name in ("answer", "sweep", "pattern", "cancel")
        ),
    ]
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False
    return Wall(app, Door(door.names, door.addresses, door.token, frozenset(files)))


class Service:
    """Answers questions, each in its turn."""

    def __init__(self, setup: Setup):
        self.setup, self.turns = setup, Turns()

    async def answer(self, request: Request) -> Response:
        session, question, _ = await self._asked(request)
        return await self._turn(session, lambda check: self.setup.bench.answer(question, check))

    async def sweep(self, request: Request) -> Response:
        session, question, _ = await self._asked(request)
        return await self._turn(session, lambda check: self.setup.bench.sweep(question, check))

    async def pattern(self, request: Request) -> Response:
        session, question, more = await self._asked(request, "head")
        head = head_of(more.get("head"), self.setup.bounds)
        return await self._turn(session, lambda check: self.setup.bench.pattern(question, head, check))

    async def cancel(self, request: Request) -> Response:
        data = _fields(read_json(await request.body()), {"session"})
        return JSONResponse({"cancelled": self.turns.cancel(_session(data))})

    async def _asked(self, request: Request, *more: str) -> tuple[str, Question, dict]:
        data = _fields(read_json(await request.body()), {"session", "question", *more})
        return _session(data), Question.read(data.get("question"), self.setup.bounds), data

    async def _turn(self, session: str, work: Work) -> Response:
        """What the bench finds. That a phrase cannot be read, or lined up with another, is an answer as well: the page
        shows it, and nothing was wrong with the request."""
        try:
            return JSONResponse(asdict(await self.turns.run(session, work)))
        except CutawayError as error:
            return JSONResponse({"error": one_line(error)})


def _fields(data: object, known: set[str]) -> dict:
    if not isinstance(data, dict) or not data.keys() <= known:
        raise CutawayError(f"send a JSON object with {', '.join(sorted(known))}, and nothing else")
    return data


def _session(data: dict) -> str:
    session = data.get("session")
    if not isinstance(session, str) or not re.fullmatch(r"[\w-]{16,64}", session, re.ASCII):
        raise CutawayError("a session is 16 to 64 letters and digits, drawn by the page")
    return session


def one_line(error: object) -> str:
    """What an error says, in one line that any encoding can hold."""
    return " ".join(str(error).split()).encode("utf-8", "replace").decode()


def _error(status: int, says: Callable[[Any], str]) -> Callable[[Request, Any], Response]:
    return lambda request, error: JSONResponse({"error": says(error)}, getattr(error, "status_code", status))


HANDLERS = {
    HTTPException: _error(400, lambda error: one_line(error.detail)),
    RefusedError: lambda request, error: JSONResponse({"error": error.why}, error.status),
    CutawayError: _error(400, one_line),
    SupersededError: _error(409, lambda error: "a newer question took the place of this one, or it was cancelled"),
    CrowdedError: _error(503, lambda error: "too many pages ask at once: wait a moment"),
    Exception: _error(500, lambda error: "the server failed: its terminal says why"),
}
"""An error is one line of JSON, never a traceback."""


def _fixed(response: Response) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return response

    return endpoint


def _file(asset: Asset) -> Response:
    return Response(asset.content, media_type=asset.kind)
