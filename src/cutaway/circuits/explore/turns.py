"""Who may use the model: one question at a time, and of each session (an open page) only its newest question."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio import CancelScope

Answer = TypeVar("Answer")

SESSIONS = 32
"""Pages that may be open; of more, the ones that have been quiet the longest are forgotten."""


class SupersededError(Exception):
    """A newer question of the same session took its place, or the session cancelled it."""


class CrowdedError(Exception):
    """More sessions ask at once than are allowed."""


class Turns:
    """Runs work in a thread, one piece at a time, in the order in which it came."""

    def __init__(self, sessions: int = SESSIONS):
        self.sessions = sessions
        self._model = anyio.Lock()
        self._asking: OrderedDict[str, CancelScope | None] = OrderedDict()

    async def run(self, session: str, work: Callable[[Callable[[], None]], Answer]) -> Answer:
        """`work(check)`, in a thread; it must call `check` between portions and let through what that raises.

        Raises:
            SupersededError: the session has asked anew, or cancelled.
            CrowdedError: there are too many sessions.
        """
        self.cancel(session)
        scope = CancelScope()
        self._enter(session, scope)

        def check() -> None:
            if scope.cancel_called:
                raise SupersededError

        try:
            with scope:
                async with self._model:
                    # not abandoned when cancelled: the model is free only when the thread is
                    return await anyio.to_thread.run_sync(work, check)
        finally:
            if self._asking.get(session) is scope:
                self._asking[session] = None
        raise SupersededError

    def cancel(self, session: str) -> bool:
        """Ends what the session asks, if it asks something."""
        if scope := self._asking.get(session):
            scope.cancel()
        return scope is not None

    def _enter(self, session: str, scope: CancelScope) -> None:
        if session not in self._asking and len(self._asking) >= self.sessions:
            quiet = next((name for name, asks in self._asking.items() if asks is None), None)
            if quiet is None:
                raise CrowdedError
            del self._asking[quiet]
        self._asking[session] = scope
        self._asking.move_to_end(session)
