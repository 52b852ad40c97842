"""The barest web application there can be: what the server and the machine cost without Hotdesk."""

from typing import Any


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer everything with two letters."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
