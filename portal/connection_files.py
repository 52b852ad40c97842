"""The files that open a desktop in a program beside the browser: of virt-viewer, and of clients of Remote Desktop."""

from typing import Any

from django.http import HttpResponse

from broker.models import ConsoleTicket
from broker.operations import consoles
from broker.rules.consoles import connection_file, file_name, rdp_file
from portal.console_sessions import shown as shown_display

VV_TYPE = "application/x-virt-viewer"
RDP_TYPE = "application/x-rdp"


def _file_of(description: str, kind: str) -> dict[str, Any]:
    described = {
        "description": description,
        "content": {kind: {"schema": {"type": "string"}}},
        "headers": {"Content-Disposition": {"required": True, "schema": {"type": "string"}}},
    }
    return {"responses": {200: described}}


CONNECTION_FILE = _file_of("A file that virt-viewer opens", VV_TYPE)
RDP_FILE = _file_of("A file that clients of Remote Desktop open", RDP_TYPE)


def remote_desktop(wish: Any) -> HttpResponse:
    """The file; what the user chose for full screen and the VM's clipboard hold for it, too."""
    address = consoles.rdp_address(request=wish)
    options = consoles.options_of(user=wish.user, of=wish.pool or wish.vm)
    text = rdp_file(address, fullscreen=options.fullscreen, clipboard=wish.vm.clipboard)
    return _download(text, RDP_TYPE, file_name(wish.vm.name, "rdp"))


def connection(ticket: ConsoleTicket) -> HttpResponse:
    """The file, once the ticket is set on the host."""
    display = shown_display(ticket)
    return _download(connection_file(display), VV_TYPE, file_name(display.title))


def _download(text: str, kind: str, name: str) -> HttpResponse:
    response = HttpResponse(text, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response
