"""A18: nothing of a bundle is believed before its signature is verified."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.command import Command, Done
from tests.support.images import build_image, write_layout
from tests.support.made_bundles import made, opened
from tests.support.ssh_signatures import SigningKey

NAME = "registry.example/app:1"
ALICE = "alice@example.org"


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey()


@pytest.fixture
def signed(tmp_path: Path, key: SigningKey) -> Path:
    """A bundle with a signature beside it."""
    path = made(tmp_path / "app.tar", {NAME: build_image([{"a": b"secret" * 100}])})
    with opened(path) as bundle:
        Path(f"{path}.sig").write_bytes(key.sign(bundle.head.raw))
    return path


@pytest.fixture
def trust(tmp_path: Path, key: SigningKey) -> list[str]:
    return ["--allowed-signers", key.allow(tmp_path, ALICE), "--identity", ALICE]


def run(ocitool: Command, *words: str | Path, stdin: bytes = b"") -> Done:
    """Run a command on a machine without OpenSSH."""
    return ocitool(*words, stdin=stdin, variables={"PATH": "/nothing"})


def test_a_bundle_with_the_right_signature_is_verified_and_loaded(
    ocitool: Command, signed: Path, trust: Sequence[str]
) -> None:
    done = run(ocitool, "bundle", "verify", signed, *trust, "--json")
    assert done.code == 0
    assert f"{done.json}".count(ALICE) == 1
    assert run(ocitool, "bundle", "load", signed, *trust).code == 0
    assert ocitool("inspect", NAME).code == 0


def test_a_new_bundle_never_stands_beside_the_signature_of_another(
    ocitool: Command, signed: Path, tmp_path: Path
) -> None:
    sidecar = Path(f"{signed}.sig")
    before = sidecar.read_bytes()
    layout = tmp_path / "app.layout"
    # The same bundle again: the signature is right.
    again = ocitool("bundle", "create", f"oci:{layout}", "-o", signed)
    assert (again.code, again.err.count("removed")) == (0, 0)
    assert sidecar.read_bytes() == before
    other = write_layout(tmp_path / "other", {NAME: build_image([{"b": b"other"}])})
    done = ocitool("bundle", "create", f"oci:{other}", "-o", signed)
    assert done.code == 0
    assert not sidecar.exists()
    assert f"removed {sidecar}: it signed another bundle of this name" in done.err
    # Nor one that lay there without its bundle.
    signed.unlink()
    sidecar.write_bytes(before)
    assert ocitool("bundle", "create", f"oci:{other}", "-o", signed).code == 0
    assert not sidecar.exists()


@pytest.mark.parametrize("command", ["verify", "load"])
@pytest.mark.parametrize("what", ["identity", "key", "namespace", "list", "damage", "none"])
def test_any_other_signature_is_refused_and_nothing_is_loaded(
    command: str,
    what: str,
    ocitool: Command,
    signed: Path,
    trust: list[str],
    key: SigningKey,
    tmp_path: Path,
) -> None:
    sidecar = Path(f"{signed}.sig")
    with opened(signed) as bundle:
        raw = bundle.head.raw
    if what == "identity":
        trust[-1] = "eve@example.org"
    elif what == "none":
        sidecar.unlink()
    else:
        other = {
            "key": SigningKey().sign(raw),
            "namespace": key.sign(raw, "file"),
            "list": key.sign(raw + b" "),
            "damage": sidecar.read_bytes()[:-40],
        }
        sidecar.write_bytes(other[what])
    done = run(ocitool, "bundle", command, signed, *trust)
    assert done.code == 3
    assert done.err.startswith("ocitool: ")
    assert not (tmp_path / "store").exists()


def test_blobs_are_not_read_before_the_signature(
    ocitool: Command, signed: Path, trust: list[str]
) -> None:
    # Cut behind its list, so that reading on would find damage.
    with opened(signed) as bundle:
        end = 10_240 + len(bundle.head.raw)
    signed.write_bytes(signed.read_bytes()[: end // 512 * 512])
    trust[-1] = "eve@example.org"
    assert (
        "does not let 'eve@example.org' sign" in run(ocitool, "bundle", "load", signed, *trust).err
    )


def test_a_pipe_is_verified_too(
    ocitool: Command, signed: Path, trust: list[str], tmp_path: Path
) -> None:
    words = ["bundle", "load", "-", "--signature", f"{signed}.sig"]
    wrong = [*trust[:-1], "eve@example.org"]
    assert run(ocitool, *words, *wrong, stdin=signed.read_bytes()).code == 3
    assert not (tmp_path / "store").exists()
    assert run(ocitool, *words, *trust, stdin=signed.read_bytes()).code == 0
    assert ocitool("inspect", NAME).code == 0


def test_signing_needs_openssh_and_files(ocitool: Command, signed: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("any")
    words = ("bundle", "sign", "--sign-key", tmp_path / "key")
    assert "ssh-keygen, which signs, is not installed" in run(ocitool, *words, signed).err
    done = run(ocitool, *words, "-", stdin=signed.read_bytes())
    assert (done.code, "no place for a signature" in done.err) == (2, True)


@pytest.mark.parametrize("verb", ["verify", "load"])
def test_a_signature_that_nobody_checked_is_told(ocitool: Command, signed: Path, verb: str) -> None:
    done = run(ocitool, "bundle", verb, signed)
    assert done.code == 0
    said = " ".join(done.err.split())
    assert "--allowed-signers F --identity I checks that" in said
