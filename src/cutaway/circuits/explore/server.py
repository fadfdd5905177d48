"""Binds a port and serves the explorer until Ctrl-C; only to this machine unless asked otherwise."""

import secrets
import socket
import threading
from ipaddress import ip_address

from cutaway.circuits.explore.app import application
from cutaway.circuits.explore.security import Door, is_address
from cutaway.circuits.explore.setup import Setup
from cutaway.core.errors import CutawayError

PORT = 8765
"""The port, if it is free and no other is asked for."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def listen(host: str, port: int | None) -> socket.socket:
    """A bound socket; on a free port if none is asked for and the usual one is taken.

    Raises:
        CutawayError: a port that is taken or not allowed, or a host that is not this machine's.
    """
    if port is not None and not 0 <= port < 2**16:
        raise CutawayError(f"--port is {port}: give one from 1 to 65535, or 0 for any free one")
    try:
        return _bound(host, PORT if port is None else port)
    except OSError as error:
        if port is None and not isinstance(error, socket.gaierror):
            return listen(host, 0)
        raise CutawayError(
            f"cannot listen on {host}:{port} ({error.strerror}): give another --port or --host"
        ) from error


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError:
        bound.close()
        raise
    return bound


def door_of(bound: socket.socket, host: str) -> Door:
    """Who may come in by a socket: who names this machine, and beyond this machine who has the token."""
    address = bound.getsockname()[0]
    if ip_address(address).is_loopback:
        return Door(frozenset((*LOOPBACK, host.lower())))
    names = {host.lower(), address, socket.gethostname().lower()}
    return Door(frozenset(names), ip_address(address).is_unspecified, secrets.token_urlsafe(24))


def url_of(bound: socket.socket, host: str, door: Door) -> str:
    """The address to open."""
    name = "127.0.0.1" if host in ("0.0.0.0", "") else "[::1]" if host == "::" else host
    if is_address(name) and ip_address(name).version == 6:
        name = f"[{name}]"
    return f"http://{name}:{bound.getsockname()[1]}/" + (f"?token={door.token}" if door.token else "")


def serve(setup: Setup, bound: socket.socket, door: Door, *, show: str | None = None) -> None:
    """Serves until a signal ends it; requests that run get two seconds.

    Args:
        show: an address to open in the browser.
    """
    import uvicorn

    config = uvicorn.Config(
        application(setup, door),
        access_log=False,
        log_level="warning",
        server_header=False,
        lifespan="off",
        ws="none",
        http="h11",
        proxy_headers=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
    )
    if show:
        threading.Thread(target=_open, args=(show,), daemon=True).start()  # the socket listens already
    uvicorn.Server(config).run(sockets=[bound])


def _open(url: str) -> None:
    import webbrowser

    webbrowser.open(url)
