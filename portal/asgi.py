"""HTTP and websockets, for uvicorn."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup(set_prefix=False)

from channels.auth import AuthMiddlewareStack  # noqa: E402  (needs the apps loaded above)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path  # noqa: E402

from portal.consoles import Console  # noqa: E402
from portal.limits import BodyLimit  # noqa: E402
from portal.live import Desktop, ShiftBoard  # noqa: E402
from portal.origins import OwnPages  # noqa: E402
from portal.secret import require_secret_key  # noqa: E402
from portal.threads import Threads  # noqa: E402

require_secret_key()

websockets = URLRouter(
    [
        path("live/desktops/<uuid:request_id>/", Desktop.as_asgi()),
        path("live/shifts/<uuid:plan_id>/", ShiftBoard.as_asgi()),
        path("ws/console/<uuid:session_id>/", Console.as_asgi()),
    ]
)
application = ProtocolTypeRouter(
    {
        "http": BodyLimit(Threads()),
        "websocket": OwnPages(AllowedHostsOriginValidator(AuthMiddlewareStack(websockets))),
    }
)
