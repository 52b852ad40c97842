"""What runs in the browser and is not ours: installed by npm as the lock says, and served as it is.

Without these packages no desktop is opened in the browser; connection files are still made.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage, Warning

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = ROOT / "node_modules"
COMMAND = "npm ci --ignore-scripts --omit=dev"


@dataclass(frozen=True)
class Package:
    """One of them: its name at npm, where its source is, and which of its folders are served under which name."""

    name: str
    source: str
    folders: tuple[tuple[str, str], ...]


PACKAGES = (
    Package(
        "@spice-project/spice-html5", "https://gitlab.freedesktop.org/spice/spice-html5", (("spice-html5", "src"),)
    ),
    # Side by side as there: its modules import each other by their way from one to the other.
    Package("@novnc/novnc", "https://github.com/novnc/noVNC", (("novnc/core", "core"), ("novnc/vendor", "vendor"))),
    Package("@xterm/xterm", "https://github.com/xtermjs/xterm.js", (("xterm/lib", "lib"), ("xterm/css", "css"))),
    Package(
        "@xterm/addon-fit",
        "https://github.com/xtermjs/xterm.js/tree/master/addons/addon-fit",
        (("xterm-addon-fit", "lib"),),
    ),
)


def folders() -> list[tuple[str, Path]]:
    """For STATICFILES_DIRS: exactly what is served, and nothing while any of it is missing."""
    wanted = [(name, INSTALLED / package.name / folder) for package in PACKAGES for name, folder in package.folders]
    return wanted if all(folder.is_dir() for _name, folder in wanted) else []


ARE_INSTALLED = bool(folders())


def notices() -> list[dict[str, str]]:
    """Each package with its version and licence, as the lock names them."""
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    return [
        {
            "name": package.name,
            "source": package.source,
            "version": locked[f"node_modules/{package.name}"]["version"],
            "licence": locked[f"node_modules/{package.name}"]["license"],
        }
        for package in PACKAGES
    ]


def check(**_: Any) -> list[CheckMessage]:
    """A system check: says what to run where desktops cannot be opened in the browser."""
    if ARE_INSTALLED:
        return []
    text = "Desktops cannot be opened in the browser: packages that run there are not installed."
    return [Warning(text, hint=f"Run: {COMMAND}", id="portal.W001")]
