"""All settings, from the environment. Names of ours start with HOTDESK_."""

import logging
from datetime import timedelta
from pathlib import Path

import environ
from django.utils.translation import gettext_lazy as _
from kombu.entity import Queue

from portal import browser_packages, providers

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def given(name: str, default: str) -> str:
    """The variable; or, so that no secret need stand in an environment, what the file holds that NAME_FILE names."""
    file = env.str(f"{name}_FILE", default="")
    return env.str(name, default="") or (Path(file).read_text().strip() if file else default)


DEBUG = env.bool("HOTDESK_DEBUG", default=False)
STATE_DIR = Path(env.str("HOTDESK_STATE", default=str(BASE_DIR / ".hotdesk"))).resolve()
PORT = env.int("HOTDESK_PORT", default=8000)

# Commands that sign nothing, such as collectstatic, run without a secret; web and workers refuse to.
NO_SECRET_KEY = "no secret key was set"  # noqa: S105
SECRET_KEY = given("HOTDESK_SECRET_KEY", "")
SECRET_KEY_FALLBACKS = given("HOTDESK_SECRET_KEY_FALLBACKS", "").split()  # keys of before
if not SECRET_KEY:
    drawn = STATE_DIR / "secret_key"  # by the demo
    SECRET_KEY = drawn.read_text().strip() if drawn.exists() else NO_SECRET_KEY

ALLOWED_HOSTS = env.list("HOTDESK_ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("HOTDESK_TRUSTED_ORIGINS", default=[])
BEHIND_TLS = env.bool("HOTDESK_TLS", default=False)

INSTALLED_APPS = [
    "portal",
    "broker",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "portal.apps.StaticFiles",
    "guardian",
    "auditlog",
    "axes",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.socialaccount.providers.saml",
    "channels",
    "csp",
    "ninja",
    "lucide",
]
MIDDLEWARE = [
    "portal.record.Record",
    "portal.traffic.traffic",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "portal.middleware.permissions_policy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.refusals",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    # Behind static files, which are free, and in front of everything that costs something.
    "portal.middleware.within_limits",
    "portal.first_start.FirstStart",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.middleware.in_own_language",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.second_factors.required",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.navigation.navigation",
            ],
        },
    }
]

# -- the truth -------------------------------------------------------------------------------------
DATABASES = {"default": env.db_url_config(given("DATABASE_URL", f"sqlite:///{STATE_DIR / 'hotdesk.sqlite3'}"))}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # SQLite ignores row locks: every transaction takes the one write lock at its start instead.
    # FULL: a request that was accepted survives a power failure.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 60,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

WEB_THREADS = env.int("HOTDESK_WEB_THREADS", default=8)  # so many requests are answered at once by a web process

# -- wake-ups and screen updates -------------------------------------------------------------------
REDIS_URL = given("HOTDESK_REDIS_URL", "redis://127.0.0.1:6379/0")
OF_PROCESS = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
CACHES = {
    # What allauth counts, and the codes that were used: shared by all web processes, and there when Redis is not.
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "portal_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
    "wake-ups": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "hotdesk",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 2},
    },
    # In the memory of each web process, which counts for itself: no Redis that hangs makes a page wait.
    "limits": OF_PROCESS | {"LOCATION": "limits", "OPTIONS": {"MAX_ENTRIES": 100_000}},
    # What pools looked like a moment ago, for the answers of a storm.
    "glimpses": OF_PROCESS | {"LOCATION": "glimpses", "OPTIONS": {"MAX_ENTRIES": 10_000}},
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "hotdesk"},
    }
}
# The hard time limit of one piece of work on a host. The lease on a VM outlives it (DESIGN: one worker per VM).
TASK_SECONDS = env.int("HOTDESK_TASK_SECONDS", default=30)
# Copying the image of a template takes as long as it takes, within reason.
IMAGE_SECONDS = env.int("HOTDESK_IMAGE_SECONDS", default=3600)
VM_LEASE_SECONDS = TASK_SECONDS + 3
BEAT_LEASE_SECONDS = env.int("HOTDESK_BEAT_LEASE_SECONDS", default=15)
SWEEP_SECONDS = env.int("HOTDESK_SWEEP_SECONDS", default=10)
TIME_SECONDS = env.int("HOTDESK_TIME_SECONDS", default=5)  # between looks at whose time is over
MONITOR_SECONDS = env.int("HOTDESK_MONITOR_SECONDS", default=10)

CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "max_retries": 1,
    "interval_start": 0,
    "interval_max": 0.2,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = TASK_SECONDS
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_TASK_DEFAULT_QUEUE = "hypervisor"
CELERY_TASK_QUEUES = [Queue(name) for name in ("allocate", "consoles", "hypervisor")]
CELERY_TASK_ROUTES = {
    "broker.allocate": {"queue": "allocate"},
    "broker.sweep": {"queue": "allocate"},
    "broker.tidy_pool": {"queue": "allocate"},
    # It only sends; behind a host that hangs it would never get its turn.
    "broker.monitor_hosts": {"queue": "allocate"},
    "broker.keep_time": {"queue": "allocate"},
    "broker.keep_shifts": {"queue": "allocate"},
    "broker.keep_attendance": {"queue": "allocate"},
    "broker.enforce_access": {"queue": "allocate"},
    "broker.set_ticket": {"queue": "consoles"},
    "broker.close_display": {"queue": "consoles"},
}
CELERY_BEAT_SCHEDULER = "portal.celery:LeasedScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "broker.sweep",
        "schedule": SWEEP_SECONDS,
        "options": {"expires": SWEEP_SECONDS},
    },
    "keep time": {
        "task": "broker.keep_time",
        "schedule": TIME_SECONDS,
        "options": {"expires": TIME_SECONDS},
    },
    "keep shifts": {
        "task": "broker.keep_shifts",
        "schedule": TIME_SECONDS,
        "options": {"expires": TIME_SECONDS},
    },
    "monitor hosts": {
        "task": "broker.monitor_hosts",
        "schedule": MONITOR_SECONDS,
        "options": {"expires": MONITOR_SECONDS},
    },
}

# -- people ----------------------------------------------------------------------------------------
AUTH_USER_MODEL = "portal.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
ANONYMOUS_USER_NAME = None
# Object permissions are asked for through broker.access only, never through has_perm; and whoever is locked out is
# answered by the sign-in page and the API, not by a middleware of axes.
SILENCED_SYSTEM_CHECKS = ["guardian.W001", "axes.W002"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "portal.passwords.LeastLength"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# Raw rows for people who administer everything.
BACK_OFFICE = env.bool("HOTDESK_BACK_OFFICE", default=True)
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
# allauth: how people prove who they are. Accounts are made by administrators, who also see to the addresses.
ACCOUNT_ADAPTER = "portal.accounts.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_SESSION_REMEMBER = True
# Wrong passwords: portal.failed_sign_ins; of allauth's own counts this leaves codes, resets and changes.
ACCOUNT_RATE_LIMITS = {"login": None, "login_failed": "5/5m/key"}
MFA_ADAPTER = "portal.accounts.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "Hotdesk"
MFA_TOTP_TOLERANCE = 1  # clocks of telephones
MFA_FORMS = {
    "add_webauthn": "portal.pages.factor_forms.AddKeyForm",
    "edit_webauthn": "portal.pages.factor_forms.EditKeyForm",
}
# Browsers know localhost as a safe place, also without TLS.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not BEHIND_TLS
# Whoever else vouches for people.
SOCIALACCOUNT_ADAPTER = "portal.vouched.ProviderAdapter"
SOCIALACCOUNT_PROVIDERS = providers.read(env.str("HOTDESK_SIGN_IN_PROVIDERS", default=""))
SOCIALACCOUNT_LOGIN_ON_GET = True  # it only leads there; what comes back is bound to the session that asked
SOCIALACCOUNT_STORE_TOKENS = False
API_TOKEN_HOURS = env.int("HOTDESK_API_TOKEN_HOURS", default=24)
SESSION_HOURS = env.int("HOTDESK_SESSION_HOURS", default=12)

# -- limits, each per web process ------------------------------------------------------------------
REQUESTS_PER_USER = env.int("HOTDESK_REQUESTS_PER_USER", default=50)  # a second
REQUESTS_PER_ADDRESS = env.int("HOTDESK_REQUESTS_PER_ADDRESS", default=500)
FAILED_SIGN_INS_PER_NAME = 10  # from one address
FAILED_SIGN_INS_PER_ADDRESS = 100
FAILED_SIGN_IN_SECONDS = 300
# axes: names that failed too often from one address are locked out for a while; administrators see and undo it.
AXES_HANDLER = "portal.failed_sign_ins.Handler"
AXES_FAILURE_LIMIT = FAILED_SIGN_INS_PER_NAME
AXES_COOLOFF_TIME = timedelta(seconds=FAILED_SIGN_IN_SECONDS)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_CALLABLE = "portal.failed_sign_ins.name_of"
AXES_CLIENT_IP_CALLABLE = "portal.failed_sign_ins.address_of"
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True  # that is what events are for
AXES_ENABLE_ADMIN = AXES_VERBOSE = False
CONSOLE_SOCKETS = env.int("HOTDESK_CONSOLE_SOCKETS", default=1000)  # of SPICE, some four to a console in a browser
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000

# -- words -----------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ko", _("Korean"))]
LOCALE_PATHS = [BASE_DIR / "portal" / "locale"]
TIME_ZONE = env.str("HOTDESK_TIME_ZONE", default="UTC")
USE_TZ = True

# -- mail --------------------------------------------------------------------------------------------
# As smtp://user:password@host:port; what is sent is printed by the worker until it is given.
vars().update(env.email_url_config(given("HOTDESK_EMAIL_URL", "consolemail://")))
DEFAULT_FROM_EMAIL = env.str("HOTDESK_EMAIL_FROM", default="hotdesk@localhost")
EMAIL_TIMEOUT = 10
# Where people reach Hotdesk, for links in mails; without it a mail has none.
PUBLIC_URL = env.str("HOTDESK_PUBLIC_URL", default="").rstrip("/")

# -- pages -----------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static", *browser_packages.folders()]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "portal.static.Storage"},
}
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "manifest-src": ["'self'"],
        "worker-src": ["'self'"],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "magnetometer"),
        *("microphone", "midi", "payment", "usb", "xr-spatial-tracking"),
    )
)
# No script of ours reads a cookie.
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_AGE = SESSION_HOURS * 3600
SECURE_SSL_REDIRECT = BEHIND_TLS
# Whoever watches a web process asks it directly, without the TLS in front.
SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$", "^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BEHIND_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None

# -- whoever watches -------------------------------------------------------------------------------
METRICS_TOKEN = given("HOTDESK_METRICS_TOKEN", "")

# -- the directory of the organization ---------------------------------------------------------------
# With HOTDESK_LDAP_URI, and the extra `directory` installed, people of the directory sign in and are found there.
DIRECTORY = providers.directory(env, given("HOTDESK_LDAP_BIND_PASSWORD", ""))
DIRECTORY_SECONDS = env.int("HOTDESK_LDAP_CHECK_SECONDS", default=300)  # between looks at who is gone
if DIRECTORY:
    AUTHENTICATION_BACKENDS += ["portal.directory.Backend"]
    task = {"task": "broker.check_directory", "schedule": DIRECTORY_SECONDS}
    CELERY_BEAT_SCHEDULE["check directory"] = task | {"options": {"expires": DIRECTORY_SECONDS}}

# -- the record ------------------------------------------------------------------------------------
LOG_LEVEL = env.str("HOTDESK_LOG_LEVEL", default="INFO")
LOG_FORMAT = env.str("HOTDESK_LOG_FORMAT", default="line")  # or json
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        # A 503 tells the caller to try again, as /readyz does while starting: an answer, not a fault.
        "no_503": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: getattr(record, "status_code", None) != 503,
        }
    },
    "formatters": {
        "line": {"()": "broker.logs.Lines", "format": "%(levelname).1s %(name)s: %(message)s"},
        "json": {"()": "broker.logs.JsonLines"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["no_503"]}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "broker": {"level": LOG_LEVEL},
        "portal": {"level": LOG_LEVEL},
        # One line for each request, for programs that collect them; a terminal would show little else.
        "portal.traffic": {"level": LOG_LEVEL if LOG_FORMAT == "json" else "WARNING"},
        "celery": {"level": "WARNING"},
        # What it says of sign-ins stands in the record, in our words.
        "axes": {"level": "ERROR"},
        "uvicorn": {"level": "WARNING"},
        # A 4xx is the caller's business, not ours.
        "django.request": {"level": "ERROR"},
    },
}
logging.captureWarnings(True)

# -- the demo world --------------------------------------------------------------------------------
DEMO_HOST_URI = env.str("HOTDESK_DEMO_HOST_URI", default="")
STORAGE_PATH = Path(env.str("HOTDESK_STORAGE_PATH", default=str(STATE_DIR / "images")))
PROBE_IMAGE = env.str("HOTDESK_PROBE_IMAGE", default="")
