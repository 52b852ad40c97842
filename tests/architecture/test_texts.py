"""Every visible text is translated (DESIGN: English and Korean from the first page)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
KOREAN = Path("portal/locale/ko/LC_MESSAGES/django.po")


def messages(file: Path, *which: str) -> str:
    command = ["msgattrib", *which, "--no-obsolete", str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_korean_is_complete_and_up_to_date(tmp_path: Path) -> None:
    for name in ("broker", "portal", "templates", "manage.py"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path)
    command = [sys.executable, "manage.py", "makemessages", "-l", "ko", "--no-location"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings", "PYTHONPATH": str(tmp_path)}
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True)
    fresh = tmp_path / KOREAN
    assert messages(fresh, "--untranslated") == ""
    assert messages(fresh, "--only-fuzzy") == ""
