"""What is let in, and the headers that go out: a wall around the whole application, errors included.

The page reads a model that lies on somebody's own machine, so nobody else's page may ask it anything. A foreign page could
point a name of its own at this machine (DNS rebinding): hence the check of `Host`. It could send a form from afar: hence
`Origin`, and JSON alone. Where the server is bound to more than this machine, a token in the address is asked for as well.
"""

import json
import secrets
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

import anyio
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY = 16 * 1024
"""Most bytes that a request may send."""
PATIENCE = 10.0
"""Seconds in which it must have sent them."""
TOKEN = "x-cutaway-token"
"""The header in which the page hands on the token of its address."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""On every answer."""


class RefusedError(Exception):
    """A request that is not let in: status, and one line that says why."""

    def __init__(self, status: int, why: str):
        super().__init__(why)
        self.status, self.why = status, why


@dataclass(frozen=True)
class Door:
    """Who is let in.

    `names` are the hosts that an address may have; `addresses` allows any in digits as well (for a server that is bound to
    all of a machine's). `token` must be in the address if there is one; paths in `public` need none.
    """

    names: frozenset[str]
    addresses: bool = False
    token: str = field(default="", repr=False)
    public: frozenset[str] = frozenset()

    def check(self, scope: Scope) -> None:
        """Raises `RefusedError` for a request that is not to be let in."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._knows(hosts[0]):
            raise RefusedError(403, "this server is not known by that name: open the address that it printed")
        if self.token and scope["path"] not in self.public and not self._has_token(scope, headers):
            raise RefusedError(
                403, "the token is missing or wrong: open the address that the server printed, with its token"
            )
        if scope["method"] != "POST":
            return
        if headers.getlist("origin") not in ([f"http://{hosts[0]}"], [f"https://{hosts[0]}"]):
            raise RefusedError(403, "only the page of this server may ask")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RefusedError(415, "send application/json")

    def _knows(self, host: str) -> bool:
        name = host_name(host)
        return name in self.names or (self.addresses and is_address(name))

    def _has_token(self, scope: Scope, headers: Headers) -> bool:
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        given = headers.get(TOKEN) or asked
        return secrets.compare_digest(given.encode("utf-8", "replace"), self.token.encode())


def host_name(host: str) -> str:
    """The name in a Host header, without its port and the brackets of IPv6; empty if it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False


class Wall:
    """The application behind a door, with the headers on all that it says."""

    def __init__(self, app: ASGIApp, door: Door):
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None  # no web sockets

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message.get("headers", [])}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in own]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        try:
            self.door.check(scope)
            body = await _whole(scope, receive)
        except RefusedError as refused:
            return await JSONResponse({"error": refused.why}, refused.status)(scope, receive, send_with_headers)
        return await self.app(scope, _again(body, receive), send_with_headers)


async def _whole(scope: Scope, receive: Receive) -> bytes:
    """What a request sends; raises `RefusedError` if that is too much, or comes too slowly."""
    too_much = RefusedError(413, f"send at most {BODY // 1024} KB")
    said = Headers(scope=scope).get("content-length", "0")
    if not said.isdecimal() or len(said) > len(str(BODY)) or int(said) > BODY:
        raise too_much
    body, more = b"", True
    with anyio.move_on_after(PATIENCE) as wait:
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
            if len(body) > BODY:
                raise too_much
    if wait.cancelled_caught:
        raise RefusedError(408, "the request was not sent in time")
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Hands on the body that was read, and then whatever else comes."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def once_more() -> Message:
        return waiting.pop() if waiting else await receive()

    return once_more


def read_json(body: bytes) -> object:
    """Raises `RefusedError` for what is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "that is no JSON") from error
