"""REST API v1: JSON in and out, one operation per call (the contract is DESIGN 8)."""

from portal.api.routes import api

__all__ = ["api"]
