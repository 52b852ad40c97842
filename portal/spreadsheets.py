"""Lists as CSV, sent while they are read."""

import csv
import io
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

from django.http import StreamingHttpResponse

FORMULA = ("=", "+", "-", "@", "\t", "\r")


class _Echo(io.StringIO):
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:  # type: ignore[override]
        return text


def download(name: str, lines: AsyncIterable[Iterable[Any]]) -> StreamingHttpResponse:
    """A file of that name; its first line holds the headings."""
    writer = csv.writer(_Echo())

    async def content() -> AsyncIterator[Any]:
        yield "\ufeff"  # tells spreadsheets that it is UTF-8
        async for line in lines:
            yield writer.writerow([harmless(value) for value in line])

    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingHttpResponse(content(), content_type="text/csv; charset=utf-8", headers=headers)


def harmless(value: Any) -> str:
    """A text that no spreadsheet takes for a formula; numbers stay numbers."""
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text
