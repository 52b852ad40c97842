"""Lines of the log: each knows the order it was written for. As JSON, one object a line, for programs."""

import json
import logging
from datetime import UTC, datetime

from celery import current_task

from broker import orders

# What a line is about, when whoever wrote it said so with `extra`.
ABOUT = ("vm", "request", "method", "path", "status", "ms")


class Lines(logging.Formatter):
    """For people: level, logger, message, and the order in brackets."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        order = orders.reference()
        return f"{line} [{order}]" if order else line


class JsonLines(logging.Formatter):
    """time (UTC), level, logger, message; request_id, task and what else is known; exception where there was one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": orders.reference() or None,
            "task": current_task.name if current_task else None,
            **{name: getattr(record, name, None) for name in ABOUT},
            "exception": self.formatException(record.exc_info) if record.exc_info else None,
        }
        return json.dumps({name: value for name, value in line.items() if value is not None}, default=str)
