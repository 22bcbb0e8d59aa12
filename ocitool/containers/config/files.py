"""/etc/hostname, /etc/hosts and /etc/resolv.conf of a container, as docker writes them."""

import ipaddress

from ocitool.containers.options import HOST, NetworkOptions

FILES = {
    "/etc/resolv.conf": "resolv.conf",
    "/etc/hostname": "hostname",
    "/etc/hosts": "hosts",
}
"""The paths in the container, and the names of the files in its bundle, in docker's order."""
_HOSTS = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
_RESOLV, _RESOLVED = "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"
_FILE_BYTES = 1 << 20
_BYTES = ("utf-8", "surrogateescape")


def network_files(options: NetworkOptions, hostname: str) -> dict[str, bytes]:
    """Return the content of each file of the bundle, by its name there."""
    return {
        "hostname": f"{hostname}\n".encode(),
        "hosts": _hosts(options),
        "resolv.conf": _resolv_conf(options),
    }


def _hosts(options: NetworkOptions) -> bytes:
    text = _read("/etc/hosts") if options.mode == HOST else _HOSTS
    if text and not text.endswith("\n"):
        text += "\n"
    return (text + "".join(f"{to}\t{name}\n" for name, to in options.add_hosts)).encode(*_BYTES)


def _resolv_conf(options: NetworkOptions) -> bytes:
    host = _read(_RESOLV)
    if not (options.dns or options.dns_search or options.dns_options):
        kept = host if options.mode == HOST else without_loopback(host, _read(_RESOLVED))
        return kept.encode(*_BYTES)
    own = without_loopback(host, _read(_RESOLVED)) if options.mode != HOST else host
    lines = [
        _line("search", options.dns_search, own),
        _servers(options.dns, own),
        _line("options", options.dns_options, own),
    ]
    return "".join(lines).encode(*_BYTES)


def _line(word: str, asked: tuple[str, ...], own: str) -> str:
    values = asked or tuple(_values(own, word))
    # A single "." means none, as with docker.
    return f"{word} {' '.join(values)}\n" if values and values != (".",) else ""


def _servers(asked: tuple[str, ...], own: str) -> str:
    return "".join(f"nameserver {one}\n" for one in asked or _servers_of(own))


def _values(text: str, word: str) -> list[str]:
    """Return what the last line of a kind says, which counts by resolv.conf(5)."""
    found: list[str] = []
    for line in text.splitlines():
        first, *rest = line.split() or [""]
        if first == word:
            found = rest
    return found


def _servers_of(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if _is_server(line)]


def without_loopback(text: str, resolved: str = "") -> str:
    """Return the text of a resolv.conf without name servers that only the host can reach.

    `resolved` is the file of systemd-resolved with the servers it asks itself: it counts when the
    only one of `text` is its own on this machine.
    """
    if _servers_of(text) == ["127.0.0.53"] and resolved:
        text = resolved
    kept = [line for line in text.splitlines() if not _is_loopback(line)]
    return "".join(f"{line}\n" for line in kept)


def _is_server(line: str) -> bool:
    words = line.split()
    return len(words) > 1 and words[0] == "nameserver"


def _is_loopback(line: str) -> bool:
    if not _is_server(line):
        return False
    try:
        # A zone such as fe80::1%eth0 says which interface of the host is meant.
        return ipaddress.ip_address(line.split()[1].partition("%")[0]).is_loopback
    except ValueError:
        return False


def _read(path: str) -> str:
    """Return a text file of the host; empty if it is not there."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(_FILE_BYTES)
    except OSError:
        return ""
