"""One list as its address says: the query, the order, the columns, the page, and what is selected."""

from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core import signing
from django.db.models import F, Q
from django.http import HttpRequest, QueryDict
from django.utils.http import urlencode

from portal.manage.cells import Column
from portal.manage.properties import Property, QueryError
from portal.manage.query import Query, parse
from portal.manage.resource import Resource

PER_PAGE = 100
CHUNK = 500


class Listing:
    """What a person asked to see of a kind. An invalid query keeps the rows of the last valid one."""

    def __init__(self, resource: Resource, request: HttpRequest) -> None:
        self.resource = resource
        self.user = request.user
        self.given = request.GET
        self.text = request.GET.get("q", "").strip()
        self.error = ""
        self.understood = self.text
        try:
            self.query = parse(self.text, resource.vocabulary())
        except QueryError as error:
            self.error = str(error)
            self.query, self.understood = self._last()
        self.sort, self.descending = self._order()
        self.columns = self._columns()

    def _last(self) -> tuple[Query, str]:
        last = self.given.get("last", "").strip()
        try:
            return parse(last, self.resource.vocabulary()), last
        except QueryError:
            return parse("", self.resource.vocabulary()), ""

    def _order(self) -> tuple[Property, bool]:
        """A header that was clicked comes before the query's own `sortby`."""
        asked = self.given.get("sort", "")
        chosen = self.resource.known.get(asked.removeprefix("-"))
        if chosen is not None:
            return chosen, asked.startswith("-")
        if self.query.sort is not None:
            return self.query.sort, self.query.descending
        return self.resource.known[self.resource.order], self.resource.descending

    def kept_columns(self) -> str:
        """The choice of columns as it stands in addresses: `columns=a,b`, or several times as forms send it."""
        return ",".join(self.given.getlist("columns"))

    def asked(self) -> dict[str, str]:
        """What decides which rows and columns there are, for addresses of the same list elsewhere."""
        asked = {"q": self.understood, "sort": self.given.get("sort", ""), "columns": self.kept_columns()}
        return {name: value for name, value in asked.items() if value}

    def _columns(self) -> list[Column]:
        wanted = self.kept_columns().split(",")
        chosen = [column for column in self.resource.columns if column.name in wanted]
        # The first one names the row and opens it: without it there would be no way in.
        first = self.resource.columns[0]
        if chosen:
            return chosen if first in chosen else [first, *chosen]
        return [column for column in self.resource.columns if column.shown]

    # -- rows --------------------------------------------------------------------------------------

    def rows(self) -> Any:
        """All that the query finds, in order."""
        rows = self.resource.detailed(self.resource.visible(self.user))
        if isinstance(rows, list):
            found = [row for row in rows if self.query.condition.holds(row)]
            return sorted(found, key=lambda row: str(self.sort.value(row)).casefold(), reverse=self.descending)
        path = F(self.sort.path)
        first = path.desc(nulls_last=True) if self.descending else path.asc(nulls_first=True)
        return rows.filter(self.query.condition.q()).order_by(first, "pk")

    def page(self) -> tuple[list[Any], str]:
        """The rows of this page, and the cursor of the next one."""
        rows = self.rows()
        if isinstance(rows, list):
            return rows, ""
        after = self._after()
        ordered = rows.filter(after) if after is not None else rows
        # First their keys: to sort all rows with everything that their columns read takes many times as long.
        keys = list(ordered.values_list("pk", flat=True)[: PER_PAGE + 1])
        found = list(rows.filter(pk__in=keys[:PER_PAGE])) if keys else []
        self.resource.prepare(found)
        more = len(keys) > PER_PAGE and found
        return found, self._cursor(found[-1]) if more else ""

    def _cursor(self, row: Any) -> str:
        value = self.sort.value(row)
        return signing.dumps([None if value is None else str(value), str(row.pk)], salt=self._salt())

    def _after(self) -> Q | None:
        """Rows behind the cursor; null at the beginning, and for a cursor that was made for another order."""
        try:
            value, key = signing.loads(self.given.get("after", ""), salt=self._salt())
        except signing.BadSignature:
            return None
        path = self.sort.path
        if value is None:
            later = Q(**{f"{path}__isnull": True, "pk__gt": key})
            return later if self.descending else later | Q(**{f"{path}__isnull": False})
        later = Q(**{path: value, "pk__gt": key}) | Q(**{f"{path}__{'lt' if self.descending else 'gt'}": value})
        return later | Q(**{f"{path}__isnull": True}) if self.descending else later

    def _salt(self) -> str:
        return f"page of {self.resource.kind} by {self.sort.name} {self.descending}"

    def total(self) -> int:
        """How many rows the query finds."""
        rows = self.rows()
        return len(rows) if isinstance(rows, list) else rows.order_by().count()

    def selected(self) -> list[Any]:
        """The rows that the address selects; those that are gone meanwhile are left out."""
        return self.resource.among(self.user, self.given.getlist("sel"))

    # -- addresses ---------------------------------------------------------------------------------

    def address(self, **changed: Any) -> str:
        """This list with something changed; null takes a part away. A new order or query begins at its first page."""
        given: QueryDict = self.given.copy()
        for name, value in changed.items():
            given.pop(name, None)
            if value is not None:
                given.setlist(name, value if isinstance(value, list) else [value])
        if "after" not in changed and ("sort" in changed or "q" in changed):
            given.pop("after", None)
        pairs = [(name, value) for name, values in given.lists() for value in values if value]
        return f"{self.resource.url}?{urlencode(pairs)}" if pairs else self.resource.url

    # -- CSV ---------------------------------------------------------------------------------------

    async def lines(self) -> AsyncIterator[list[Any]]:
        """Every row that the query finds, read piece by piece; the headings first."""
        yield [str(column.label) for column in self.columns]
        rows = await sync_to_async(self.rows)()
        pieces = iter([rows]) if isinstance(rows, list) else _pieces(self, rows)
        while (piece := await sync_to_async(next)(pieces, None)) is not None:
            for row in piece:
                yield [column.value(row) for column in self.columns]


def _pieces(listing: Listing, rows: Any) -> Any:
    piece: list[Any] = []
    for row in rows.iterator(chunk_size=CHUNK):
        piece.append(row)
        if len(piece) == CHUNK:
            listing.resource.prepare(piece)
            yield piece
            piece = []
    listing.resource.prepare(piece)
    yield piece
