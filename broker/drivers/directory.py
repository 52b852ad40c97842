"""The directory of the organization over LDAP: whom it knows, and which groups they are in.

Optional: python-ldap comes with the extra `directory`. Whoever the filters of the place do not find, is not there.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ldap
from ldap.controls import SimplePagedResultsControl
from ldap.filter import escape_filter_chars

NETWORK_SECONDS = 2  # to be heard at all
ANSWER_SECONDS = 4  # for one answer
BATCH = 100
KEY = re.compile(r"([A-Za-z0-9-]|\\[0-9a-f]{2}){1,200}")
PLAIN = re.compile(rb"[A-Za-z0-9-]{1,200}")
NAMES = ("cn", "givenName", "sn", "mail")
# How directories list who is in a group: by distinguished names, or by user names.
MEMBERS = ("member", "uniqueMember", "memberUid")


class Silent(Exception):
    """The directory does not answer, or not as it should."""


@dataclass(frozen=True)
class Person:
    """Somebody. The key stays the same whatever the person is called; it can stand in a filter as it is."""

    key: str
    dn: str
    username: str
    first_name: str
    last_name: str
    email: str


@dataclass(frozen=True)
class Group:
    """A group; `members` are distinguished names and user names, in small letters."""

    key: str
    name: str
    members: frozenset[str]

    def has(self, person: Person) -> bool:
        return not self.members.isdisjoint((person.dn.lower(), person.username.lower()))


@dataclass(frozen=True)
class Place:
    """Where the directory is, and where in it people and groups are found."""

    uri: str
    users: str
    groups: str = ""
    bind_dn: str = ""
    bind_password: str = ""
    user_filter: str = "(objectClass=person)"
    group_filter: str = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))"
    username: str = "uid"
    key: str = "entryUUID"
    start_tls: bool = False
    ca_file: str = ""

    @property
    def attributes(self) -> list[str]:
        return [self.username, self.key, *NAMES, *MEMBERS]

    @property
    def options(self) -> dict[int, Any]:
        """Of every connection: nobody waits long for a directory that is away."""
        found = {
            ldap.OPT_NETWORK_TIMEOUT: NETWORK_SECONDS,
            ldap.OPT_TIMEOUT: ANSWER_SECONDS,
            ldap.OPT_REFERRALS: 0,
        }
        if self.ca_file:
            found |= {ldap.OPT_X_TLS_CACERTFILE: self.ca_file, ldap.OPT_X_TLS_NEWCTX: 0}
        return found

    def person(self, dn: str, held: Any) -> Person | None:
        """Somebody out of an entry; null for one without a key or a user name."""
        first = _first(held)
        key, username = _key(held, self.key), first(self.username)
        if not key or not username:
            return None
        return Person(key, dn, username, first("givenName"), first("sn") or first("cn"), first("mail"))

    def group(self, held: Any) -> Group | None:
        """A group out of an entry; null for one without a key or a name."""
        key, name = _key(held, self.key), _first(held)("cn")
        members = frozenset(_text(value).lower() for attribute in MEMBERS for value in held.get(attribute, ()))
        return Group(key, name, members) if key and name else None


def search(place: Place, text: str, most: int) -> tuple[list[Person], list[Group]]:
    """The first people and groups whose names hold every word of the text. Silent when it does not answer."""
    words = [escape_filter_chars(word) for word in text.split()[:10]]
    of_people = "".join(f"(|{''.join(f'({one}=*{word}*)' for one in (place.username, *NAMES))})" for word in words)
    of_groups = "".join(f"(cn=*{word}*)" for word in words)
    with _connected(place) as connection:
        found = _ask(connection, place, place.users, f"(&{place.user_filter}{of_people})", most)
        people = [place.person(dn, held) for dn, held in found]
        groups = _ask(connection, place, place.groups, f"(&{place.group_filter}{of_groups})", most)
        return [one for one in people if one], [one for held in groups if (one := place.group(held[1]))]


def people(place: Place, keys: Collection[str]) -> dict[str, Person]:
    """Those of these keys that are there now, by key. Silent when it does not answer about every one."""
    with _connected(place) as connection:
        found = _by_keys(connection, place, place.users, place.user_filter, keys)
        known = [place.person(dn, held) for dn, held in found]
    return {one.key: one for one in known if one}


def groups(place: Place, keys: Collection[str]) -> dict[str, Group]:
    """Those of these keys that are there now, by key. Silent when it does not answer about every one."""
    with _connected(place) as connection:
        found = _by_keys(connection, place, place.groups, place.group_filter, keys)
        known = [place.group(held) for _dn, held in found]
    return {one.key: one for one in known if one}


def _by_keys(connection: Any, place: Place, base: str, wanted: str, keys: Collection[str]) -> Iterator[Any]:
    fit = [key for key in keys if KEY.fullmatch(key)]
    for start in range(0, len(fit), BATCH):
        which = "".join(f"({place.key}={key})" for key in fit[start : start + BATCH])
        yield from _ask(connection, place, base, f"(&{wanted}(|{which}))", BATCH)


@contextmanager
def _connected(place: Place) -> Iterator[Any]:
    try:
        connection = ldap.initialize(place.uri)
        for option, value in place.options.items():
            connection.set_option(option, value)
        if place.start_tls:
            connection.start_tls_s()
        connection.simple_bind_s(place.bind_dn, place.bind_password)
        try:
            yield connection
        finally:
            connection.unbind_s()
    except ldap.LDAPError as error:
        raise Silent(str(error)) from error


def _ask(connection: Any, place: Place, base: str, wanted: str, most: int) -> list[tuple[str, Any]]:
    """The first page of what a filter finds; referrals to elsewhere are not followed."""
    if not base:
        return []
    control = SimplePagedResultsControl(True, size=most, cookie="")
    asked = connection.search_ext(base, ldap.SCOPE_SUBTREE, wanted, place.attributes, serverctrls=[control])
    answer = connection.result3(asked, timeout=ANSWER_SECONDS)[1]
    return [(dn, held) for dn, held in answer if dn is not None]


def _key(held: Any, attribute: str) -> str:
    """What can stand in a filter: as it is, or each byte by its number, as Active Directory's are."""
    values = held.get(attribute) or [b""]
    raw = values[0].encode() if isinstance(values[0], str) else values[0]
    return raw.decode() if PLAIN.fullmatch(raw) else "".join(f"\\{byte:02x}" for byte in raw)


def _first(held: Any) -> Any:
    return lambda attribute: _text((held.get(attribute) or [""])[0])[:150]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")
