"""What the pages of the Administration Portal draw: its navigation, cells, and the icon with a word."""

from typing import Any

from django import template
from django.utils.formats import number_format

from portal.manage import registry
from portal.manage.cells import Column, mebibytes, size
from portal.manage.resource import MOST_COUNTED, Resource

register = template.Library()


@register.simple_tag
def kinds(user: Any) -> list[dict[str, Any]]:
    """The side navigation: every kind that the user is offered, with how many there are, one query for each."""
    return [{"resource": resource, "count": counted(resource.count(user))} for resource in registry.offered(user)]


def counted(count: int) -> str:
    """A number that costs no more to find out than it is worth."""
    return f"{number_format(MOST_COUNTED - 1)}+" if count >= MOST_COUNTED else number_format(count)


@register.simple_tag
def cell(column: Column, row: Any) -> Any:
    return column.cell(row)


@register.simple_tag
def key_of(resource: Resource, row: Any) -> str:
    return resource.row_key(row)


@register.simple_tag
def url_of(resource: Resource, row: Any) -> str:
    return resource.row_url(row)


@register.simple_tag
def label_of(resource: Resource, row: Any) -> str:
    return resource.label(row)


@register.simple_tag
def sort_url(listing: Any, column: Column) -> str:
    """Where a click on the head of a column leads: this order, or the other way round."""
    ascending_now = listing.sort.name == column.name and not listing.descending
    return listing.address(sort=f"-{column.name}" if ascending_now else column.name)


register.filter("mebibytes", mebibytes)
register.filter("bytes", size)
