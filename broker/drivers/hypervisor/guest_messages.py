"""What the guest agent is told to do so that whoever sits there reads a message. Pure: values in, commands out."""

import json
from base64 import b64encode

WINDOWS = "mswindows"
MOST_CHARACTERS = 500
WHICH_SYSTEM = json.dumps({"execute": "guest-get-osinfo"})
SHOWN_SECONDS = 60

# The text comes in by the standard input: no shell ever reads it as a command. `wall` reaches text consoles, and
# `notify-send` each graphical session, as its own user.
UNIX_SCRIPT = r"""
text=$(cat)
command -v wall >/dev/null && printf '%s\n' "$text" | wall
command -v notify-send >/dev/null && command -v runuser >/dev/null || exit 0
for bus in /run/user/*/bus; do
    [ -S "$bus" ] || continue
    owner=$(stat -c %U "$bus")
    runuser -u "$owner" -- env DBUS_SESSION_BUS_ADDRESS="unix:path=$bus" notify-send -u critical Hotdesk "$text"
done
"""


def system_of(answer: str) -> str:
    """The guest's system as its agent names it, such as debian or mswindows; blank where it does not say."""
    found = json.loads(answer).get("return", {})
    return str(found.get("id", ""))


def command(system: str, text: str) -> str:
    """Show the text: in a window on Windows, on all consoles and desktops elsewhere."""
    text = " ".join(text.split())[:MOST_CHARACTERS]
    if system == WINDOWS:
        shown = {"path": "msg.exe", "arg": ["*", f"/TIME:{SHOWN_SECONDS}", text]}
    else:
        said = b64encode(text.encode()).decode()
        shown = {"path": "/bin/sh", "arg": ["-c", UNIX_SCRIPT], "input-data": said}
    return json.dumps({"execute": "guest-exec", "arguments": shown})
