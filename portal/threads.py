"""The threads in which a web process answers: few, so that a storm waits in order, and not all at the database.

A request that has no thread yet costs nothing but its place; one that runs is not slowed down by hundreds of others.
The threads stay, and so do their connections to the database.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections


class Threads(ASGIHandler):
    """Django over ASGI; the body is read, and the answer sent, without one of the threads."""

    def __init__(self) -> None:
        super().__init__()
        self._executor = ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="answer")

    def load_middleware(self, is_async: bool = False) -> None:
        """All our views and middlewares are synchronous, whatever the server is."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: Any) -> Any:
        """Wait for a thread, first come first served; whoever hangs up meanwhile gives up the place."""
        return await sync_to_async(self._answer, thread_sensitive=False, executor=self._executor)(request)

    def _answer(self, request: Any) -> Any:
        # Django does so in the thread of its signals, which has no connection here.
        close_old_connections()
        try:
            return self.get_response(request)
        finally:
            close_old_connections()
