"""Package names that load on first use, so that a command pays only for what it needs."""

from collections.abc import Callable, Mapping
from importlib import import_module
from sys import modules


def lazy(
    package: str, modules_of: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return the `__getattr__`, `__dir__` (PEP 562) and `__all__` of a package.

    `modules_of` maps each module below `package` to the public names that it defines, separated
    by blanks. A name is loaded once and then stays in the package. AttributeError for a name that
    is in none of them.
    """
    homes = {name: home for home, names in modules_of.items() for name in names.split()}

    def load(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{package}.{home}"), name)
        setattr(modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(modules[package]), *homes})

    return load, names, sorted(homes)
