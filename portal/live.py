"""The websocket behind a desktop's page: whenever something changed it sends the page's panel anew."""

import asyncio
from importlib import import_module
from typing import Any

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.template.loader import render_to_string
from django.utils import translation

from broker import live
from broker.errors import NotFound
from portal import record
from portal import requests as shown
from portal.pages.desktops import panel_context

NOT_SIGNED_IN = 4401
NOT_FOUND = 4404
PAUSE_SECONDS = 0.15  # a burst of changes is one update


class Desktop(AsyncJsonWebsocketConsumer):
    """One watcher of one wish. It is told that something changed, and reads the state itself."""

    async def connect(self) -> None:
        self.user = self.scope["user"]
        self.request_id = self.scope["url_route"]["kwargs"]["request_id"]
        self.language = self._language()
        self.groups_joined: list[str] = []
        self.pending: asyncio.Task[None] | None = None
        await self.accept()
        if not self.user.is_authenticated:
            await self.close(NOT_SIGNED_IN)
            return
        try:
            wish = await database_sync_to_async(shown.own)(self.user, self.request_id)
        except NotFound:
            refuse = database_sync_to_async(record.refused_socket)
            await refuse(self.scope, who=self.user, status=NOT_FOUND)
            await self.close(NOT_FOUND)
            return
        groups = (
            live.request_group(self.request_id),
            live.line_group(wish.pool_id),
            live.person_group(self.user.pk),
        )
        for group in groups:
            await self.channel_layer.group_add(group, self.channel_name)
            self.groups_joined.append(group)
        await self._send_panel()

    async def disconnect(self, code: int) -> None:
        if self.pending is not None:
            self.pending.cancel()
        for group in self.groups_joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, *_message: Any, **_more: Any) -> None:
        """Watchers only listen: whatever they say is not even read."""

    async def changed(self, message: dict[str, Any]) -> None:
        if self.pending is None or self.pending.done():
            self.pending = asyncio.create_task(self._send_soon())

    async def _send_soon(self) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        # From here on a further change is a further update.
        self.pending = None
        if await self._is_signed_in():
            await self._send_panel()
        else:
            await self.close(NOT_SIGNED_IN)

    async def _is_signed_in(self) -> bool:
        """Read anew: whoever signed out elsewhere, was disabled or got a new password sees nothing more."""
        key = self.scope.get("cookies", {}).get(settings.SESSION_COOKIE_NAME)
        session = import_module(settings.SESSION_ENGINE).SessionStore(key)
        return bool((await get_user({"session": session})).is_authenticated)

    async def _send_panel(self) -> None:
        await self.send_json(await database_sync_to_async(self._panel)())

    def _panel(self) -> dict[str, Any]:
        with translation.override(self.language):
            context = panel_context(shown.own(self.user, self.request_id))
            html = render_to_string("desktops/panel.html", context)
            return {"html": html, "state": context["wish"].state, "title": str(context["title"])}

    def _language(self) -> str:
        """Consumers see no middleware: the language is read from the same cookie and header as for pages."""
        cookies = self.scope.get("cookies", {})
        headers = dict(self.scope.get("headers", ()))
        accepted = headers.get(b"accept-language", b"").decode("latin-1")
        wanted = [cookies.get("django_language", "")]
        wanted += [part.split(";")[0].strip() for part in accepted.split(",")]
        for code in filter(None, wanted):
            try:
                return translation.get_supported_language_variant(code)
            except LookupError:
                continue
        return translation.get_supported_language_variant("en")
