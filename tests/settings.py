"""Settings of the tests that need no running Hotdesk: no Redis, quick passwords, a database of their own."""

import os
import tempfile

os.environ.setdefault("HOTDESK_STATE", tempfile.mkdtemp(prefix="hotdesk-tests-"))
os.environ.setdefault("HOTDESK_SECRET_KEY", "a key for tests that is long enough to be taken")

from portal.settings import *  # noqa: F403
from portal.settings import CACHES, DATABASES, MIDDLEWARE, STATE_DIR

# Most worlds have no administrator; tests/access/test_first_start.py has the page that says so.
MIDDLEWARE = [one for one in MIDDLEWARE if one != "portal.first_start.FirstStart"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
CHANNEL_LAYERS = {"default": {"BACKEND": "tests.channel_layer.OneProcess"}}
CACHES = {
    **CACHES,
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "wake-ups": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "wake-ups"},
    # Tests do in a second what the rows say of another; test_takes has a real one.
    "glimpses": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}
# Tests are quicker than people; those of the limits set their own.
REQUESTS_PER_USER = REQUESTS_PER_ADDRESS = 1_000_000
CELERY_BROKER_URL = "memory://"

if os.environ.get("HOTDESK_TEST_DATABASE") == "postgresql":
    from tests import postgresql

    DATABASES["default"] = postgresql.database()
else:
    # Threads and processes of one test share the file; an in-memory database would be one connection's own.
    DATABASES["default"]["TEST"] = {"NAME": str(STATE_DIR / "tests.sqlite3")}
    # A power failure loses a test run anyway: nothing is waited for to reach the disk.
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
