"""What people touch: pages, the REST API, live updates, sign-in. The Celery app loads with Django."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
