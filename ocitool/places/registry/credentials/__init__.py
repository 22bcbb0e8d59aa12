"""Credentials of docker and podman: where they are kept, and in which order they are looked up.

`chain` answers which credential a request uses. It asks the sources of `locations` in turn: each is
a `file`, which may name a credential `helper`; `keys` says which entry covers a repository. What is
found is a `credential`. `store` is the other direction: what `login` and `logout` change.
"""
