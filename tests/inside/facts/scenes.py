"""The image with 30 planted facts, and five images in which nothing is to be found."""

from collections.abc import Iterator

from tests.inside.facts import planted
from tests.support.images import BuiltImage, Compression
from tests.support.root_files import Node, folder, hard_link, link, program
from tests.support.small_images import gone, small_image

ELF = b"\x7fELF\2\1\1" + bytes(57)
CERTIFICATE = planted.PKCS8.replace("PRIVATE KEY", "CERTIFICATE")
GLIBC = ELF + b"GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n"


def text(path: str, content: str) -> Node:
    """Return a file with this text."""
    return Node(path=path, data=content.encode())


STEPS = (
    "ADD rootfs.tar / # buildkit",
    "COPY . / # buildkit",
    f"|1 BUILD_TOKEN={planted.BUILD_TOKEN} /bin/sh -c make install",
    "RUN /bin/sh -c rm /app/old.pem && update-settings # buildkit",
)
CONFIG = {"config": {"Env": ["PATH=/usr/bin:/bin", f"API_PASSWORD={planted.CONFIG_PASSWORD}"]}}
SECRETS = (
    planted.ENV_PASSWORD,
    planted.RSA,
    planted.ED25519,
    planted.PKCS8,
    planted.GIT_PASSWORD,
    planted.AWS_KEY,
    planted.NPM,
    planted.PYPI,
    planted.PIP_PASSWORD,
    planted.DOCKER_AUTH,
    planted.KUBE_KEY,
    planted.GCP_KEY,
    planted.NETRC_PASSWORD,
    planted.CONFIG_PASSWORD,
    planted.BUILD_TOKEN,
    planted.DELETED,
    planted.OVERWRITTEN,
)


def planted_image(codec: Compression = "none") -> BuiltImage:
    """Return the image that has all of the 30 facts."""
    return small_image(
        list(_system()),
        list(_secrets()),
        [text("app/built", "x")],
        [gone("app/old.pem"), text("app/settings.env", "DB_PASSWORD=changeme\n")],
        codec=codec,
        steps=STEPS,
        config=CONFIG,
    )


def _system() -> Iterator[Node]:
    yield folder("usr/lib/x86_64-linux-gnu")
    yield link("lib", "usr/lib")
    yield link("bin", "usr/bin")
    yield program("usr/bin/bash", ELF)
    yield program("usr/bin/dash", ELF)
    yield program("usr/bin/busybox", ELF)
    yield hard_link("usr/bin/rpm", "usr/bin/busybox")
    yield link("usr/bin/sh", "busybox")
    yield program("sbin/apk", ELF)
    yield program("usr/bin/dnf", ELF)
    yield text("var/lib/dpkg/status.d/base", "Package: base-files\nVersion: 12\n")
    yield program("usr/lib/x86_64-linux-gnu/libc.so.6", GLIBC)
    yield program("usr/lib/ld-musl-x86_64.so.1", ELF)
    yield text("etc/ssl/certs/ca-certificates.crt", CERTIFICATE * 3)
    yield text("usr/share/zoneinfo/Europe/Berlin", "TZif")
    yield Node(path="usr/bin/su", data=ELF, mode=0o4755)
    yield Node(path="usr/bin/wall", data=ELF, mode=0o2755)
    yield Node(path="etc/open", data=b"x", mode=0o666)
    yield folder("tmp", mode=0o1777)


def _secrets() -> Iterator[Node]:
    yield text("app/.env", f"DB_PASSWORD={planted.ENV_PASSWORD}\n")
    yield text("root/.ssh/id_rsa", planted.RSA)
    yield text("root/.ssh/id_ed25519", planted.ED25519)
    yield text("app/tls/server.key", planted.PKCS8)
    url = f"https://bob:{planted.GIT_PASSWORD}@git.example.org/x.git"
    yield text("app/.git/config", f'[remote "origin"]\n\turl = {url}\n')
    key = f"[default]\naws_secret_access_key = {planted.AWS_KEY}\n"
    yield text("root/.aws/credentials", key)
    yield text("root/.npmrc", f"//registry.npmjs.org/:_authToken={planted.NPM}\n")
    yield text("root/.pypirc", f"[pypi]\nusername = __token__\npassword = {planted.PYPI}\n")
    index = f"https://ci:{planted.PIP_PASSWORD}@pypi.example.org/simple"
    yield text("etc/pip.conf", f"[global]\nindex-url = {index}\n")
    auth = f'{{"auths": {{"r.example.org": {{"auth": "{planted.DOCKER_AUTH}"}}}}}}'
    yield text("root/.docker/config.json", auth)
    user = f"users:\n- name: a\n  user:\n    client-key-data: {planted.KUBE_KEY}\n"
    yield text("root/.kube/config", user)
    yield text("app/key.json", planted.GCP)
    yield text(
        "root/.netrc", f"machine a.example.org login bob password {planted.NETRC_PASSWORD}\n"
    )
    yield text("app/old.pem", planted.DELETED)
    yield text("app/settings.env", f"DB_PASSWORD={planted.OVERWRITTEN}\n")


def clean_images() -> dict[str, BuiltImage]:
    """Return five images without a secret, though some look as if they had one."""
    key = planted.PKCS8
    packages = "usr/lib/python3/site-packages"
    return {
        "scratch": small_image([program("app", ELF)]),
        "distroless": small_image(
            [
                text("etc/os-release", 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n'),
                text("var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2024a\n"),
                text("etc/ssl/certs/ca-certificates.crt", CERTIFICATE),
                text("usr/share/doc/openssl/example.pem", key),
                text("usr/share/man/man1/openssl.1", f"Looks like this:\n{key}"),
            ]
        ),
        "python": small_image(
            [
                text(f"{packages}/twisted-1.dist-info/METADATA", "Name: twisted\nVersion: 1\n"),
                text(f"{packages}/twisted/test/server.pem", key),
                text(f"{packages}/tornado/tests/test.key", key),
            ]
        ),
        "example": small_image(
            [
                text("app/.env.example", f"DB_PASSWORD={planted.ENV_PASSWORD}\n"),
                text("app/config.py", 'KEY = "AKI' + 'AIOSFODNN7EXAMPLE"\n'),
                text("app/.env", "DB_PASSWORD=${DB_PASSWORD}\nTOKEN_FILE=/run/secrets/token\n"),
            ]
        ),
        "certificates": small_image(
            [
                text("etc/ssl/certs/ca-certificates.crt", CERTIFICATE * 2),
                text("etc/ssl/certs/own.pem", CERTIFICATE),
                text("app/public.pem", key.replace("PRIVATE KEY", "PUBLIC KEY")),
            ]
        ),
    }
