"""Amazon's repositories have to exist before a push: they are created by Amazon's own command."""

import shutil
import subprocess

from ocitool.errors import AccessDenied, NotFound, OcitoolError, Unavailable, UsageError
from ocitool.places.registry.hosts import Host
from ocitool.places.registry.http.problems import create_command

_SECONDS = 120.0
_DENIED = ("AccessDenied", "ExpiredToken", "Unable to locate credentials")


def create_repository(domain: str, path: str, *, seconds: float = _SECONDS) -> bool:
    """Create a repository by the aws command; return False when it exists already.

    UsageError for registries that create repositories by themselves; NotFound without the command;
    Unavailable when it has not ended after `seconds`.
    """
    host = Host(domain)
    if not host.is_ecr:
        raise UsageError(
            f"{domain} creates repositories when they are pushed to", hint="leave out --create-repo"
        )
    command = create_command(host, path)
    if shutil.which("aws") is None:
        raise NotFound(
            "the command `aws`, which creates the repository, is not installed",
            hint=f"install it, or run elsewhere: {command}",
        )
    try:
        done = subprocess.run(  # noqa: S603 - the words are ours, and no shell reads them
            [*command.split(), "--output", "json"],
            capture_output=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"`{command}` has not ended in {seconds:g} seconds", hint="run it by hand to see why"
        ) from error
    if done.returncode == 0:
        return True
    said = done.stderr.decode("utf-8", "replace").strip()
    if "RepositoryAlreadyExists" in said:
        return False
    kind = AccessDenied if any(word in said for word in _DENIED) else OcitoolError
    raise kind(f"`{command}` failed: {said[:300]}", hint="look at the rights of the AWS identity")
