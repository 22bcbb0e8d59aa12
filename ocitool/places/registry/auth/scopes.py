"""Scopes: the rights that a token is asked for, such as `repository:a/b:pull,push`."""

from collections.abc import Iterable


def merge(*groups: Iterable[str]) -> tuple[str, ...]:
    """Return all scopes, one for each resource, in the order in which resources first appear.

    Actions of one resource are joined. A scope of another form, such as "aws", is kept as it is
    (distribution's "Token Scope Documentation").
    """
    found: dict[str, dict[str, None]] = {}
    for scope in (scope for group in groups for scope in group):
        resource, _, actions = scope.rpartition(":")
        found.setdefault(resource or scope, {}).update(
            dict.fromkeys(actions.split(",") if resource else ())
        )
    return tuple(
        f"{resource}:{','.join(actions)}" if actions else resource
        for resource, actions in found.items()
    )
