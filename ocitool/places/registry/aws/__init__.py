"""Amazon's registry without Amazon's command line: who we are there, its token, its repositories.

`hosts` reads what the name of a registry says; `identity` finds AWS credentials where Amazon's own
tools look for them, with `profiles`, `metadata` and `sts`; `signing` signs requests with them;
`client` sends; `ecr` asks for the token that a registry takes as a password, and makes
repositories.
"""
