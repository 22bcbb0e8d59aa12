"""dockerfile beside the builders: what it writes of an image builds the same image again."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peers import Docker, Ocitool, Podman, fresh_files

pytestmark = pytest.mark.interop

DOCKERFILE = """\
FROM scratch
ARG VERSION=1.0
SHELL ["/bin/ash", "-e", "-c"]
ENV HOME_OF=/srv/app GREETING="hello big world" QUOTED="a \\"b\\" $VERSION \\$HOME"
LABEL version=$VERSION maintainer="Ann Example <ann@example.org>" multi="a b" other='c=d e'
COPY first second /srv/
WORKDIR /srv
USER 12:34
EXPOSE 8080 53/udp
HEALTHCHECK --interval=1m30s --timeout=3s --retries=5 CMD probe "x y" || exit 1
VOLUME ["/data", "/var/log/app dir"]
STOPSIGNAL SIGQUIT
ONBUILD RUN echo built
ENTRYPOINT ["/srv/first", "--name", "two words"]
CMD serve --now "a b"
"""
COPY = re.compile(r"COPY # 2 files, [0-9.]+ k?B, layer 1 /srv/")


def again(lines: list[str]) -> str:
    """Return a Dockerfile of what ocitool wrote, with the files that it cannot know."""
    assert lines[1] == "# base: unknown", lines
    assert not [line for line in lines if "# ?" in line]
    text = "\n".join(line for line in lines if line and not line.startswith("#"))
    text, copies = COPY.subn("COPY first second /srv/", text)
    assert copies == 1
    return f"FROM scratch\n{text}\n"


def check(
    ocitool: Ocitool, context: Path, build: Callable[[str, str], object], saved: Callable[..., Any]
) -> None:
    build(DOCKERFILE, "interop/one:1")
    ocitool.run("load", data=saved("interop/one:1"))
    lines = ocitool.run("dockerfile", "interop/one:1").decode().splitlines()
    build(again(lines), "interop/two:1")
    ocitool.run("load", data=saved("interop/two:1"))
    both = ("interop/one:1", "interop/two:1", "--ignore", "mtime", "--json")
    found = json.loads(ocitool.attempt("diff", *both).stdout)
    assert found["config"] == []
    assert [found["files"][key] for key in ("added", "removed", "changed")] == [[], [], []]


def test_what_docker_built_can_be_built_again(
    docker: Docker, ocitool: Ocitool, tmp_path: Path
) -> None:
    context = fresh_files(tmp_path / "context", "first", "second")
    check(
        ocitool,
        context,
        lambda text, name: docker.build(context, text, name),
        lambda name: docker.run("save", name),
    )


def test_what_buildah_built_can_be_built_again(
    podman: Podman, ocitool: Ocitool, tmp_path: Path
) -> None:
    context = fresh_files(tmp_path / "context", "first", "second")
    check(
        ocitool,
        context,
        lambda text, name: podman.build(context, text, f"docker.io/{name}", form="docker"),
        lambda name: podman.run("save", f"docker.io/{name}"),
    )
