"""Authentication at a registry: challenges are answered with a password or with a token.

A request passes the `authorizer`, which httpx asks for every request to the registry's own host.
`flow` takes the request through the `challenge` of a 401; a token for the needed `scopes` comes
from a token server by a `token_exchange` of the messages in `tokens`, if `token_servers` allows
that server. `state` is what the requests to one registry share: the credential and the tokens.

The error for a wrong password: `TokenRequest._refusal` in `tokens` where a token server refuses it,
`AuthFlow._basic` in `flow` where none was found, `Problem` in `http.problems` where the registry
itself refuses it.
"""
