"""How the manifests of a repository are listed and deleted, which the specification leaves open.

`service` is what all offer; `plain` does it by the specification alone, which lists tags and
nothing else; `github` and `amazon` use the interfaces of GitHub's and Amazon's registries.
`choosing` finds the one for a repository.
"""
