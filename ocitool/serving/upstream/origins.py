"""Which repositories are fetched from other registries; no others are, whatever clients ask for."""

import re
from collections.abc import Sequence

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import Reference

_WILD = re.compile(r"[*?\[\]@]")


class Origin(Struct, frozen=True, kw_only=True):
    """A registry, and the beginning of the repositories in it that are meant."""

    host: str
    prefix: str = ""

    @property
    def text(self) -> str:
        """The registry and the beginning as a user writes them."""
        return f"{self.host}/{self.prefix}".rstrip("/")

    def covers(self, repository: str) -> bool:
        """Tell whether a repository, by its full name, comes from here."""
        return f"{repository}/".startswith(f"{self.text}/")


def parse_origin(text: str) -> Origin:
    """Read HOST[/PREFIX]; UsageError for anything else."""
    host, slash, prefix = text.strip("/").partition("/")
    try:
        if _WILD.search(text) or (":" in prefix):
            raise UsageError("it is a pattern or an image")
        domain = Reference.parse(f"{host}/{prefix or 'x/y'}").domain
    except UsageError as error:
        raise UsageError(
            f"--upstream {quoted(text)}: {error.message}",
            hint="write a registry, or one with the beginning of its repositories: ghcr.io/team",
        ) from None
    if domain != host and domain != "docker.io":
        raise UsageError(f"--upstream {quoted(text)} names no registry")
    if domain != host:
        raise UsageError(
            f"--upstream {quoted(text)} names no registry", hint=f"write docker.io/{text}"
        )
    return Origin(host=domain, prefix=prefix if slash else "")


def covers(origins: Sequence[Origin], repository: str) -> bool:
    """Tell whether a repository comes from one of the registries."""
    return any(origin.covers(repository) for origin in origins)
