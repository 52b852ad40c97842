"""Whose pages may open a websocket here? Browsers send our cookies along with anybody's."""

from typing import Any

from channels.db import database_sync_to_async
from channels.security.websocket import WebsocketDenier
from django.conf import settings

from portal import record

FORBIDDEN = 403


class OwnPages:
    """Around the websockets: asked for by a page of the host that is asked, port included, or by a trusted origin.

    The same as Django asks of a form. That the host is one of ours is for Channels' own validator to say.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        origin, host = (headers.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
        own = f"{'https' if settings.BEHIND_TLS else 'http'}://{host}"
        allowed = origin == own or origin in settings.CSRF_TRUSTED_ORIGINS
        if not allowed:
            await database_sync_to_async(record.refused_socket)(scope, who=None, status=FORBIDDEN)
        await (self.application if allowed else WebsocketDenier())(scope, receive, send)
