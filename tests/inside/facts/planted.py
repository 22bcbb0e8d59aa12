"""Secrets for tests. They are put together here, so that no scanner finds one in this file."""

import base64
import hashlib
import json


def noise(label: str, length: int) -> bytes:
    """Return bytes that look random and are the same in every run."""
    return hashlib.shake_128(label.encode()).digest(length)


def letters(label: str, length: int) -> str:
    """Return letters and digits that look random."""
    text = base64.b64encode(noise(label, length * 2)).decode()
    return text.replace("+", "a").replace("/", "b").replace("=", "")[:length]


def pem(kind: str, label: str, *, length: int = 600, begin: bytes = b"0\x82") -> str:
    """Return a private key in PEM form, such as that of `kind` "RSA "."""
    text = base64.b64encode(begin + noise(label, length)).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    name = f"{kind}PRIVATE" + " KEY"
    return "\n".join([f"-----BEGIN {name}-----", *lines, f"-----END {name}-----", ""])


def openssh(label: str) -> str:
    """Return a private key as ssh-keygen writes it."""
    begin = b"openssh-key-v1\0\0\0\0\4none\0\0\0\4none\0\0\0\0\0\0\0\1"
    return pem("OPENSSH ", label, length=300, begin=begin)


AWS_ID = "AKI" + "A" + "QWERTZUIOPASDF67"
AWS_KEY = letters("aws", 40)
GITHUB = "gh" + "p_" + letters("github", 36)
NPM = "np" + "m_" + letters("npm", 36)
PYPI = "py" + "pi-AgEIcHlwaS5vcmc" + letters("pypi", 80)
SLACK = "xo" + "xb-123456789012-" + letters("slack", 24)
RSA = pem("RSA ", "rsa")
ED25519 = openssh("ed25519")
PKCS8 = pem("", "pkcs8")
GIT_PASSWORD = letters("git", 20)
PIP_PASSWORD = letters("pip", 16)
NETRC_PASSWORD = letters("netrc", 14)
ENV_PASSWORD = letters("env", 18)
CONFIG_PASSWORD = letters("config", 22)
BUILD_TOKEN = letters("build", 26)
DELETED = pem("EC ", "deleted")
OVERWRITTEN = letters("overwritten", 24)
DOCKER_PASSWORD = letters("docker", 20)
DOCKER_AUTH = base64.b64encode(f"bob:{DOCKER_PASSWORD}".encode()).decode()
KUBE_KEY = base64.b64encode(pem("RSA ", "kube").encode()).decode()
GCP_KEY = pem("", "gcp")
GCP = json.dumps(
    {"type": "service_account", "private_key": GCP_KEY, "client_email": "x@y.example.org"}
)
