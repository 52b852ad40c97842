"""The websockets behind pages that follow what happens: whenever something changed they send the panel anew."""

import asyncio
from contextlib import suppress
from importlib import import_module
from typing import Any
from uuid import UUID

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.template.loader import render_to_string
from django.utils import translation

from broker import live
from broker.errors import NotFound
from portal import lines, metrics, record, second_factors, shifts
from portal import requests as shown
from portal.audience import PAUSE_SECONDS, audiences
from portal.pages.desktops import panel_context
from portal.pages.shifts import board_context

NOT_SIGNED_IN = 4401
NOT_FOUND = 4404
BOARD_PAUSE_SECONDS = 0.5  # many look at it, and many things happen on it
PATIENCE_SECONDS = 5  # with a browser that does not take what it is sent


class Watcher(AsyncJsonWebsocketConsumer):
    """One watcher of something. It is told that something changed, and reads the state itself."""

    pause_seconds = PAUSE_SECONDS

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.groups_joined: list[str] = []
        self.pending: asyncio.Task[None] | None = None

    def watched(self) -> tuple[str, ...]:
        """The groups that are told of changes; NotFound for whoever may not look."""
        raise NotImplementedError

    def panel(self) -> dict[str, Any]:
        """What the page shows now; NotFound for whoever may not look any more."""
        raise NotImplementedError

    async def joined(self) -> None:
        """The groups were joined; nothing was read yet."""

    async def __call__(self, *arguments: Any) -> None:
        with metrics.websockets.track_inprogress():
            try:
                async with asyncio.timeout(None) as self.life:
                    await super().__call__(*arguments)
            except TimeoutError:
                if not self.life.expired():
                    raise
            finally:
                await self.forget()

    async def connect(self) -> None:
        self.user = self.scope["user"]
        self.language = self._language()
        self.session_key = self.scope.get("cookies", {}).get(settings.SESSION_COOKIE_NAME)
        await self.accept()
        if not self.user.is_authenticated:
            await self.close(NOT_SIGNED_IN)
            return
        try:
            groups = await database_sync_to_async(self._watched)()
        except NotFound:
            await self._refuse()
            return
        for group in (*groups, live.person_group(self.user.pk)):
            await self.channel_layer.group_add(group, self.channel_name)
            self.groups_joined.append(group)
        await self.joined()
        await self._send_panel()

    def _watched(self) -> tuple[str, ...]:
        self._require_factor()
        return self.watched()

    def _require_factor(self) -> None:
        if second_factors.is_missing(self.user):
            raise NotFound("")

    async def _refuse(self) -> None:
        refuse = database_sync_to_async(record.refused_socket)
        await refuse(self.scope, who=self.user, status=NOT_FOUND)
        await self.close(NOT_FOUND)

    def drop(self) -> None:
        """End it without a word: there is nobody who would hear one."""
        self.life.reschedule(asyncio.get_running_loop().time())

    async def forget(self) -> None:
        """It is over, in whatever way: nobody tells it anything any more."""
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
        await asyncio.sleep(self.pause_seconds)
        # From here on a further change is a further update.
        self.pending = None
        with suppress(OSError):  # the browser has gone meanwhile
            if await self._is_signed_in():
                await self._send_panel()
            else:
                await self.close(NOT_SIGNED_IN)

    async def _is_signed_in(self) -> bool:
        """Read anew: whoever signed out elsewhere, was disabled or got a new password sees nothing more."""
        session = import_module(settings.SESSION_ENGINE).SessionStore(self.session_key)
        return bool((await get_user({"session": session})).is_authenticated)

    async def _send_panel(self) -> None:
        try:
            await self.send_json(await database_sync_to_async(self._translated)())
        except NotFound:
            await self._refuse()

    def _translated(self) -> dict[str, Any]:
        self._require_factor()  # which may be asked for since this was opened
        with translation.override(self.language):
            return self.panel()

    def _language(self) -> str:
        """Consumers see no middleware: the language comes from account, cookie and header, as for pages."""
        cookies = self.scope.get("cookies", {})
        headers = dict(self.scope.get("headers", ()))
        accepted = headers.get(b"accept-language", b"").decode("latin-1")
        wanted = [getattr(self.user, "language", ""), cookies.get("django_language", "")]
        wanted += [part.split(";")[0].strip() for part in accepted.split(",")]
        for code in filter(None, wanted):
            try:
                return translation.get_supported_language_variant(code)
            except LookupError:
                continue
        return translation.get_supported_language_variant("en")


class Desktop(Watcher):
    """The page of one desktop: its owner's alone. Of its line it hears through the audience that it is part of."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.pool_id: UUID | None = None
        self.mark: tuple[Any, ...] | None = None
        self.told: lines.Words = {}
        self.unsent: lines.Words | None = None
        self.telling: asyncio.Task[None] | None = None

    @property
    def request_id(self) -> UUID:
        key: UUID = self.scope["url_route"]["kwargs"]["request_id"]
        return key

    def watched(self) -> tuple[str, ...]:
        self.pool_id = shown.pool_of_own(self.user, self.request_id)
        return (live.request_group(self.request_id),)

    async def joined(self) -> None:
        if self.pool_id is not None:
            await audiences().join(self.pool_id, self)

    def panel(self) -> dict[str, Any]:
        wish = shown.own(self.user, self.request_id)
        context = panel_context(wish)
        html = render_to_string("desktops/panel.html", context)
        self.mark, self.told = lines.mark(wish), context["words"]
        return {"html": html, "state": wish.state, "title": str(context["title"])}

    def tell(self, words: lines.Words, *, again: bool) -> None:
        """Send new words, or the same once more; only the newest, where those before them are still on their way."""
        if words == self.told and not again:
            return
        self.told = self.unsent = words
        if self.telling is None or self.telling.done():
            self.telling = asyncio.create_task(self._send_words())

    async def _send_words(self) -> None:
        while self.unsent is not None:
            words, self.unsent = self.unsent, None
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self.send_json({"words": words, "state": "queued", "title": words["title"]})
            except OSError:  # gone, or as good as gone
                self.drop()

    async def forget(self) -> None:
        if self.telling is not None:
            self.telling.cancel()
        if self.pool_id is not None:
            await audiences().leave(self.pool_id, self)
        await super().forget()


class ShiftBoard(Watcher):
    """The board of a shift plan; on a wall, as it is drawn there."""

    pause_seconds = BOARD_PAUSE_SECONDS

    def watched(self) -> tuple[str, ...]:
        plan = self._plan()
        return live.shifts_group(plan.pk), live.line_group(plan.pool_id)

    def panel(self) -> dict[str, Any]:
        wall = b"wall=1" in self.scope.get("query_string", b"").split(b"&")
        context = board_context(self.user, self._plan(), wall=wall)
        html = render_to_string("shifts/panel.html", context)
        return {"html": html, "state": context["state"], "title": context["title"]}

    def _plan(self) -> Any:
        return shifts.get(self.user, self.scope["url_route"]["kwargs"]["plan_id"])
