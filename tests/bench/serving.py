"""`registry serve` against docker-registry and `crane registry serve`, in turns.

`python -m tests.bench.serving [--size MB] [--rounds N]`. Prints a markdown table of medians and
ratios. Clients and servers share the machine, so only ratios within one round and the CPU seconds
of the servers mean something. Needs docker-registry, crane and curl.
"""

import argparse
import contextlib
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_CLIENTS, _EACH, _MANY = 8, 500, 200
_LEAST_SECONDS = 30.0
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Site:
    """A registry in a process of its own."""

    def __init__(self, name: str, host: str, process: "subprocess.Popen[bytes]") -> None:
        self.name = name
        self.host = host
        self.process = process

    @property
    def cpu(self) -> float:
        """The CPU seconds that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def peak(self) -> float:
        """The largest resident memory so far, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def ask(self, method: str, target: str, body: bytes = b"", kind: str = "") -> tuple[int, str]:
        """Send one request; return status and Location."""
        client = HTTPConnection(self.host, timeout=60)
        client.request(method, target, body, {"Content-Type": kind} if kind else {})
        answer = client.getresponse()
        answer.read()
        client.close()
        location = answer.getheader("Location") or ""
        return answer.status, location.removeprefix(f"http://{self.host}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(name: str, folder: Path) -> Iterator[tuple[Site, float]]:
    """Run a registry; yield it and the seconds until its first answer."""
    folder.mkdir()
    host = f"127.0.0.1:{free_port()}"
    began = time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command(name, host, folder), stdout=log, stderr=log)
    site = Site(name, host, process)
    try:
        while True:
            with contextlib.suppress(OSError):
                site.ask("GET", "/v2/")
                break
            if time.perf_counter() - began > _LEAST_SECONDS:
                raise AssertionError((folder / "log").read_text())
            time.sleep(0.005)
        yield site, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def command(name: str, host: str, folder: Path) -> list[str]:
    if name == "ocitool":
        store = ["--store", str(folder / "store")]
        options = ["--addr", host, "--writable", "--log", "none"]
        return [sys.executable, "-m", "ocitool", *store, "registry", "serve", *options]
    if name == "crane":
        return ["crane", "registry", "serve", "--address", host, "--disk", str(folder)]
    settings = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host, "secret": "x"},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    return ["docker-registry", "serve", str(folder / "config.yml")]


def push_image(site: Site, layer: bytes) -> tuple[str, str]:
    """Push an image of one layer; return the targets of its blob and its manifest."""
    listed = []
    for data, kind in ((b"{}", "config.v1+json"), (layer, "layer.v1.tar")):
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        _, where = site.ask("POST", "/v2/bench/app/blobs/uploads/")
        mark = "&" if "?" in where else "?"
        status, _ = site.ask(
            "PUT", f"{where}{mark}digest={digest}", data, "application/octet-stream"
        )
        assert status == 201, (site.name, status)
        kind = f"application/vnd.oci.image.{kind}"
        listed.append({"mediaType": kind, "digest": digest, "size": len(data)})
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": listed[0],
        "layers": listed[1:],
    }
    raw = json.dumps(manifest).encode()
    status, _ = site.ask("PUT", "/v2/bench/app/manifests/1", raw, _MANIFEST)
    assert status == 201, (site.name, status)
    return f"/v2/bench/app/blobs/{listed[1]['digest']}", "/v2/bench/app/manifests/1"


def together(commands: Sequence[Sequence[str]]) -> float:
    """Run commands at once; return the seconds until the last has ended."""
    began = time.perf_counter()
    processes = [subprocess.Popen(one, stdout=subprocess.DEVNULL) for one in commands]
    codes = [process.wait() for process in processes]
    assert not any(codes), codes
    return time.perf_counter() - began


def pull(site: Site, target: str, size: int, clients: int = 4) -> tuple[float, float]:
    """Return MB/s of several readers of one blob, and the CPU seconds of the server for a GB."""
    before = site.cpu
    url = f"http://{site.host}{target}"
    seconds = together([["curl", "-sSf", "-o", "/dev/null", url]] * clients)
    moved = clients * size
    return moved / 1e6 / seconds, (site.cpu - before) / (moved / 1e9)


def upload(site: Site, files: Sequence[tuple[Path, str]]) -> float:
    """Return MB/s of uploads at once, each of a file that is new to the registry."""
    commands = []
    for path, digest in files:
        _, where = site.ask("POST", "/v2/bench/up/blobs/uploads/")
        mark = "&" if "?" in where else "?"
        url = f"http://{site.host}{where}{mark}digest={digest}"
        commands.append(["curl", "-sSf", "-X", "PUT", "-H", "Expect:", "-T", str(path), url])
    seconds = together(commands)
    return sum(path.stat().st_size for path, _ in files) / 1e6 / seconds


def fetch_small(host: str, target: str, connections: int, rounds: int) -> tuple[int, list[float]]:
    """Send requests over connections in turns; return failures and the seconds of each."""
    clients = [HTTPConnection(host, timeout=60) for _ in range(connections)]
    failures, seconds = 0, []
    for _ in range(rounds):
        for client in clients:
            began = time.perf_counter()
            # docker-registry shows OCI manifests only to those who accept them.
            client.request("GET", target, headers={"Accept": _MANIFEST})
            answer = client.getresponse()
            body = answer.read()
            failures += answer.status != 200 or not body
            seconds.append(time.perf_counter() - began)
    for client in clients:
        client.close()
    return failures, seconds


def small(site: Site, target: str, clients: int, rounds: int) -> tuple[float, int, float]:
    """Return requests a second of keep-alive clients, failures, and the slowest hundredth (ms)."""
    processes = min(clients, _CLIENTS)
    began = time.perf_counter()
    with get_context("fork").Pool(processes) as pool:
        shares = [(site.host, target, clients // processes, rounds)] * processes
        found = pool.starmap(fetch_small, shares)
    took = time.perf_counter() - began
    times = sorted(one for _, seconds in found for one in seconds)
    slow = times[int(len(times) * 0.99)] * 1000
    return len(times) / took, sum(failures for failures, _ in found), slow


def measured(name: str, folder: Path, layer: bytes, fresh: Callable[[], Path]) -> dict[str, float]:
    """Measure one registry once."""
    with running(name, folder) as (site, started):
        blob, manifest = push_image(site, layer)
        speed, cpu = pull(site, blob, len(layer))
        before = site.cpu
        quick, wrong, _ = small(site, manifest, _CLIENTS, _EACH)
        small_cpu = (site.cpu - before) / (_CLIENTS * _EACH) * 1000
        _, wrong_many, slow = small(site, manifest, _MANY, 5)
        files = [fresh() for _ in range(5)]
        known = [(path, f"sha256:{hash_of(path)}") for path in files]
        one = upload(site, known[:1])
        four = upload(site, known[1:])
        for path in files:
            path.unlink()
        return {
            "start, s": started,
            "pull x4, MB/s": speed,
            "CPU for a GB, s": cpu,
            "small, requests/s": quick,
            "CPU for 1,000 small, s": small_cpu,
            "200 clients: slowest 1 %, ms": slow,
            "200 clients: failures": wrong + wrong_many,
            "upload x1, MB/s": one,
            "upload x4, MB/s": four,
            "peak memory, MB": site.peak,
        }


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Measure all, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=100, metavar="MB")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    names = ("ocitool", "docker-registry", "crane")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        layer = os.urandom(given.size * 1_000_000)

        def fresh() -> Path:
            path = Path(folder) / os.urandom(8).hex()
            path.write_bytes(os.urandom(given.size * 1_000_000))
            return path

        for number in range(given.rounds):
            for name in names:
                place = Path(folder) / f"{name}-{number}"
                found[name].append(measured(name, place, layer, fresh))
    print("| | ocitool | docker-registry | crane | ratio to docker-registry | to crane |")
    print("| --- | --- | --- | --- | --- | --- |")
    for what in found["ocitool"][0]:
        cells = [f"{statistics.median(one[what] for one in found[name]):.4g}" for name in names]
        for peer in names[1:]:
            pairs = zip(found["ocitool"], found[peer], strict=True)
            ratios = [ours[what] / theirs[what] for ours, theirs in pairs if theirs[what]]
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
        print(f"| {what} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
