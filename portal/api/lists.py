"""Every list in one shape: {"items", "next", "count"}, sliced, in an order that is unique."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from django.core import signing
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from ninja import Field, Schema

from broker.errors import Invalid
from portal.api.values import Given

Item = TypeVar("Item")
MOST = 500


class Paging(Given):
    """Query parameters of every list."""

    q: str = Field("", max_length=200, description="words that the name must contain")
    limit: int = Field(100, ge=1, le=MOST)
    cursor: str = Field("", max_length=4000)


class Page(Schema, Generic[Item]):
    """One page of a list; `next` is the cursor of the following one."""

    items: list[Item]
    next: str | None
    count: int


def page(
    rows: QuerySet[Any],
    paging: Paging,
    *,
    order: tuple[str, str],
    searched: str,
    show: Callable[[Any], dict[str, Any]],
    prepare: Callable[[list[Any]], None] | None = None,
    descending: bool = False,
) -> dict[str, Any]:
    """Keyset paging by `order`, whose last field is unique; `prepare` sees the whole page before `show` sees a row.

    Invalid for a cursor that is not ours.
    """
    for word in paging.q.split():
        rows = rows.filter(**{f"{searched}__icontains": word})
    count = rows.order_by().count()
    first, unique = order
    if paging.cursor:
        value, key = _decode(paging.cursor, rows)
        compare = "lt" if descending else "gt"
        rows = rows.filter(Q(**{f"{first}__{compare}": value}) | Q(**{first: value, f"{unique}__gt": key}))
    rows = rows.order_by(f"-{first}" if descending else first, unique)
    # First their keys: to sort all rows with everything that `show` reads takes many times as long.
    keys = list(rows.values_list("pk", flat=True)[: paging.limit + 1])
    found = list(rows.filter(pk__in=keys[: paging.limit])) if keys else []
    more = len(keys) > paging.limit and found
    if prepare is not None:
        prepare(found)
    return {
        "items": [show(row) for row in found],
        "next": _encode(found[-1], rows, order) if more else None,
        "count": count,
    }


def _encode(row: Any, rows: QuerySet[Any], order: tuple[str, str]) -> str:
    """Signed, so that what comes back is either what we gave for the same kind of rows, or refused."""
    return signing.dumps([str(getattr(row, field)) for field in order], salt=_salt(rows))


def _decode(cursor: str, rows: QuerySet[Any]) -> tuple[str, str]:
    try:
        value, key = signing.loads(cursor, salt=_salt(rows))
    except signing.BadSignature as error:
        text = _("This cursor is not one of ours: use the `next` of a page.")
        raise Invalid(text, field="cursor") from error
    return value, key


def _salt(rows: QuerySet[Any]) -> str:
    return f"cursor of {rows.model._meta.label_lower}"
