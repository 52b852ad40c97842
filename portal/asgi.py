"""HTTP and websockets, for uvicorn."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402  (needs the apps loaded above)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path  # noqa: E402

from portal.limits import BodyLimit  # noqa: E402
from portal.live import Desktop  # noqa: E402
from portal.origins import OwnPages  # noqa: E402
from portal.secret import require_secret_key  # noqa: E402

require_secret_key()

websockets = URLRouter([path("live/desktops/<uuid:request_id>/", Desktop.as_asgi())])
application = ProtocolTypeRouter(
    {
        "http": BodyLimit(http),
        "websocket": OwnPages(AllowedHostsOriginValidator(AuthMiddlewareStack(websockets))),
    }
)
