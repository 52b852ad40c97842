"""What an API token may be used for."""

from collections.abc import Collection

from broker.states import Scope


def permits(held: Collection[str], fitting: Collection[str], *, looks: bool, of_others: bool) -> bool:
    """Whether a token of these scopes lets a call through to where the `fitting` scopes lead.

    `looks` is for what changes nothing, `of_others` for what is somebody else's: a token for one's own desktops does
    not lead to theirs, whatever its user may do. Everything leads everywhere.
    """
    if Scope.EVERYTHING in held or (looks and Scope.READ in held):
        return True
    return any(scope in fitting and not (of_others and scope == Scope.DESKTOPS) for scope in held)
