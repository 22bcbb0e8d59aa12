"""The process of a container: arguments, environment, folder, limits (config.md, "Process")."""

from ocitool.containers.config.purpose import Json, Purpose
from ocitool.containers.config.security import capabilities
from ocitool.errors import UsageError
from ocitool.oci import ImageConfig
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import familiar

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNLIMITED = (1 << 64) - 1


def process(config: ImageConfig, purpose: Purpose) -> Json:
    """Return the `process` object; UsageError if nothing says what to run."""
    options, user = purpose.options, purpose.user
    held = capabilities(options.security)
    active = {"effective": held, "permitted": held} if user.uid == 0 else {}
    score = options.limits.oom_score_adj
    limits = [
        {"type": f"RLIMIT_{one.name.upper()}", "soft": _limit(one.soft), "hard": _limit(one.hard)}
        for one in options.limits.ulimits
    ]
    return {
        "terminal": options.process.terminal,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": arguments(config, purpose),
        "env": [f"{name}={value}" for name, value in environment(config, purpose).items()],
        "cwd": working_folder(config, purpose.options.process.workdir),
        "capabilities": {"bounding": held, **active},
        **({"rlimits": limits} if limits else {}),
        "noNewPrivileges": options.security.no_new_privileges,
        # Without root privileges the score of this process may not be lowered.
        **({"oomScoreAdj": score or 0} if purpose.rootless is None or score else {}),
    }


def _limit(number: int) -> int:
    return _UNLIMITED if number < 0 else number


def arguments(config: ImageConfig, purpose: Purpose) -> list[str]:
    """Return the command line by docker's rules: an entry point takes the place of both."""
    run, asked = config.config, purpose.options
    entrypoint = asked.process.entrypoint
    if entrypoint is None:
        # A command replaces the image's Cmd and leaves its Entrypoint.
        found = [*run.entrypoint, *(asked.command or run.cmd)]
    else:
        found = [*entrypoint, *asked.command]
    if not found:
        dropped = entrypoint is not None
        why = "--entrypoint leaves nothing to run" if dropped else "does not say what to run"
        subject = "" if dropped else f"the image {quoted(familiar(purpose.image))} "
        raise UsageError(f"{subject}{why}", hint="write the command after the name")
    if asked.command[:1] == (found[0],) and found[0].startswith("-"):
        where = f"options stand before the image: {quoted(found[0])} … {familiar(purpose.image)}"
        raise UsageError(
            f"the command begins with {quoted(found[0])}, which is no program", hint=where
        )
    return found


def environment(config: ImageConfig, purpose: Purpose) -> dict[str, str]:
    """Return the variables: those every container has, then what replaces or removes them.

    A line of the image without "=" removes a variable, as docker reads it.
    """
    options = purpose.options.process
    found = {"PATH": DEFAULT_PATH, "HOSTNAME": purpose.hostname}
    if options.terminal:
        found["TERM"] = "xterm"
    changes: dict[str, str | None] = {}
    for line in config.config.env:
        name, is_set, value = line.partition("=")
        changes[name] = value if is_set else None
    for name, wanted in {**changes, **options.env}.items():
        if wanted is None:
            found.pop(name, None)
        else:
            found[name] = wanted
    return found


def working_folder(config: ImageConfig, asked: str | None) -> str:
    """Return the folder to start in, an absolute path."""
    path = asked if asked is not None else config.config.working_dir
    return path if path.startswith("/") else f"/{path}"
