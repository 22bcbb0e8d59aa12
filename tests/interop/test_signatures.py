"""A18: signatures by keys of OpenSSH and of minisign, made and verified with the real programs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocitool.bundles.signature import Signer, sign, verify_minisign, verify_signature
from ocitool.errors import BadSignature, OcitoolError
from tests.interop.peers import Ocitool, run
from tests.support.images import build_image, oci_archive
from tests.support.terminal import Terminal

pytestmark = pytest.mark.interop

FOLDER = Path(__file__).parent.parent.parent / "fixtures" / "signatures"
DATA = b'{"format":"ocitool-bundle/1"}'
ALICE = "alice@example.org"
LINES = (
    "{alice} {key}",
    "{alice} {other}",
    "*@example.org,!bob@* {key}",
    "*,!alice@* {key}",
    "bob@example.org {key}",
    '"{alice},x" {key} a comment',
    "# {alice} {key}",
    '{alice} namespaces="git,ocitool-*" {key}',
    '{alice} namespaces="git" {key}',
    '{alice} namespaces="*,!ocitool-bundle" {key}',
    '{alice} valid-after="20200101" {key}',
    '{alice} valid-after="20990101Z" {key}',
    '{alice} valid-before="20200101120000" {key}',
    '{alice} valid-before="2099010112",namespaces="*" {key}',
    '{alice} valid-before="209901011200",namespaces="*" {key}',
    "{alice} cert-authority {key}",
    "bob@example.org nonsense {key}\n{alice} {key}",
    '{alice} namespaces="git" {key}\n{alice} {key}',
    "{alice} ssh-ed25519 AAAA",
)


@pytest.fixture(autouse=True)
def _openssh(require: Callable[..., None]) -> None:
    require("ssh-keygen", "ssh-agent")


@pytest.fixture
def make_key(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a key of a type, with a passphrase or without."""

    def make(kind: str = "ed25519", passphrase: str = "") -> Path:
        path = tmp_path / f"key-{kind}"
        run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)])
        return path

    return make


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An agent without a key."""
    socket = tmp_path / "agent"
    command = ["ssh-agent", "-D", "-a", str(socket)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while subprocess.run(["ssh-add", "-l"], capture_output=True, check=False).returncode == 2:
            assert process.poll() is None
        yield
        process.terminate()


def allowed(tmp_path: Path, key: Path, identity: str = ALICE) -> str:
    path = tmp_path / "allowed"
    path.write_text(f"{identity} {Path(f'{key}.pub').read_text()}")
    return str(path)


class TestA18Openssh:
    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_what_a_key_signs_is_verified_with_and_without_openssh(
        self,
        kind: str,
        make_key: Callable[..., Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        key = make_key(kind)
        signature = sign(DATA, str(key))
        shown = run(["ssh-keygen", "-l", "-f", f"{key}.pub"]).decode().split()[1]
        found = verify_signature(DATA, signature, allowed(tmp_path, key), ALICE)
        assert (found.identity, found.fingerprint) == (ALICE, shown)
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        assert verify_signature(DATA, signature, allowed(tmp_path, key), ALICE) == found

    def test_a_key_in_an_agent_signs(
        self, agent: None, make_key: Callable[..., Path], tmp_path: Path
    ) -> None:
        key = make_key(passphrase="secret")
        run(["ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", str(key)])
        run(["ssh-add", "-q", str(key)])
        key.unlink()
        signature = sign(DATA, f"{key}.pub")
        verify_signature(DATA, signature, allowed(tmp_path, key), ALICE)

    def test_the_question_for_a_passphrase_is_on_the_terminal(
        self, make_key: Callable[..., Path], tmp_path: Path
    ) -> None:
        key = make_key(passphrase="secret")
        code = f"from ocitool.bundles.signature import sign; print(sign({DATA!r}, {str(key)!r}))"
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(FOLDER.parent.parent)}
        with Terminal([sys.executable, "-c", code], environment) as terminal:
            terminal.heard.wait_for("Enter passphrase")
            terminal.type(b"secret\r")
            assert terminal.end(15) == 0
            assert "BEGIN SSH SIGNATURE" in terminal.heard.finish()

    def test_without_a_terminal_a_passphrase_is_an_error_with_advice(
        self, make_key: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        key = make_key(passphrase="secret")
        code = f"from ocitool.bundles.signature import sign; print(sign({DATA!r}, {str(key)!r}))"
        done = subprocess.run(
            ["setsid", sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert "ssh-keygen did not sign with" in done.stderr.splitlines()[-1]
        assert "incorrect passphrase" in done.stderr.splitlines()[-1]

    def test_what_is_no_key_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("nonsense")
        with pytest.raises(OcitoolError, match="is not a key of OpenSSH"):
            sign(DATA, str(tmp_path / "key"))

    @pytest.mark.parametrize("line", LINES)
    def test_allowed_signers_mean_what_they_mean_to_openssh(
        self, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key, other = (
            " ".join((FOLDER / f"{name}.pub").read_text().split()[:2])
            for name in ("ed25519", "ecdsa")
        )
        path = tmp_path / "allowed"
        path.write_text(line.format(alice=ALICE, key=key, other=other) + "\n")
        data, signature = (FOLDER / "list.json").read_bytes(), FOLDER / "ed25519.sig"

        def is_good() -> bool:
            try:
                verify_signature(data, signature.read_bytes(), str(path), ALICE)
            except OcitoolError:
                return False
            return True

        with_openssh = is_good()
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        assert is_good() == with_openssh

    def test_a_certificate_is_verified_by_openssh(
        self, make_key: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        authority = make_key("ecdsa")
        key = make_key()
        run(["ssh-keygen", "-q", "-s", str(authority), "-I", "x", "-n", ALICE, f"{key}.pub"])
        shutil.copy(f"{key}-cert.pub", f"{key}.pub")
        signature = sign(DATA, str(key))
        path = tmp_path / "authorities"
        path.write_text(f"*@example.org cert-authority {Path(f'{authority}.pub').read_text()}")
        assert verify_signature(DATA, signature, str(path), ALICE).identity == ALICE
        with pytest.raises(BadSignature):
            verify_signature(DATA, signature, str(path), "bob@example.org")
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        with pytest.raises(OcitoolError, match="OpenSSH alone"):
            verify_signature(DATA, signature, str(path), ALICE)


class TestA18Minisign:
    @pytest.fixture
    def key(self, require: Callable[..., None], tmp_path: Path) -> Path:
        require("minisign")
        run(["minisign", "-G", "-W", "-p", f"{tmp_path}/m.pub", "-s", f"{tmp_path}/m.key"])
        return tmp_path / "m"

    def test_its_signatures_are_verified(self, key: Path, tmp_path: Path) -> None:
        path = tmp_path / "list"
        path.write_bytes(DATA)
        run(["minisign", "-S", "-s", f"{key}.key", "-m", str(path)])
        signature = Path(f"{path}.minisig").read_bytes()
        text = Path(f"{key}.pub").read_text().splitlines()
        for given in (f"{key}.pub", text[-1]):
            found = verify_minisign(DATA, signature, given)
            # Some versions of minisign leave out zeros in front.
            shown = text[0].split()[-1].zfill(16)
            assert found == Signer(identity=shown, key_type="minisign", fingerprint=text[-1])
        for data, damaged in ((DATA + b" ", signature), (DATA, signature[:60]), (DATA, b"")):
            with pytest.raises(BadSignature, match="minisign does not accept"):
                verify_minisign(data, damaged, f"{key}.pub")


class TestA18Bundles:
    @pytest.fixture
    def ocitool(self, tmp_path: Path) -> Ocitool:
        return Ocitool(tmp_path / "store")

    @pytest.fixture
    def trust(self, make_key: Callable[..., Path], tmp_path: Path) -> tuple[str, ...]:
        return ("--allowed-signers", allowed(tmp_path, make_key()), "--identity", ALICE)

    @pytest.fixture
    def archive(self, tmp_path: Path) -> Path:
        path = tmp_path / "images.tar"
        path.write_bytes(oci_archive({"registry.example/app:1": build_image()}))
        return path

    def test_signed_as_it_is_made(
        self, ocitool: Ocitool, trust: tuple[str, ...], archive: Path, tmp_path: Path
    ) -> None:
        bundle, key = str(tmp_path / "b.tar"), str(tmp_path / "key-ed25519")
        ocitool.run("bundle", "create", str(archive), "-o", bundle, "--sign-key", key)
        ocitool.run("bundle", "verify", bundle, *trust)
        assert ocitool.attempt("bundle", "load", bundle, *trust[:3], "eve@x").returncode == 3
        assert not ocitool.store.exists()
        ocitool.run("bundle", "load", "-", *trust, data=Path(bundle).read_bytes())
        assert [image.names for image in ocitool.images()] == [{"registry.example/app:1"}]

    def test_signed_later(
        self, ocitool: Ocitool, trust: tuple[str, ...], archive: Path, tmp_path: Path
    ) -> None:
        bundle, key = str(tmp_path / "b.tar"), str(tmp_path / "key-ed25519")
        ocitool.run("bundle", "create", str(archive), "-o", bundle)
        before = Path(bundle).read_bytes()
        assert ocitool.attempt("bundle", "verify", bundle, *trust).returncode == 3
        shown = ocitool.run("bundle", "sign", bundle, "--sign-key", key)
        assert shown.decode() == f"{bundle}.sig\n"
        ocitool.run("bundle", "verify", bundle, *trust)
        assert Path(bundle).read_bytes() == before

    def test_signed_with_minisign(
        self, require: Callable[..., None], ocitool: Ocitool, archive: Path, tmp_path: Path
    ) -> None:
        require("minisign")
        run(["minisign", "-G", "-W", "-p", f"{tmp_path}/m.pub", "-s", f"{tmp_path}/m.key"])
        bundle, listing = str(tmp_path / "b.tar"), tmp_path / "list"
        ocitool.run("bundle", "create", str(archive), "-o", bundle)
        listing.write_bytes(ocitool.run("bundle", "show", "--list", bundle).removesuffix(b"\n"))
        run(["minisign", "-S", "-s", f"{tmp_path}/m.key", "-m", str(listing)])
        words = ("--signature", f"{listing}.minisig", "--minisign-key", f"{tmp_path}/m.pub")
        assert b"signed by" in ocitool.run("bundle", "verify", bundle, *words)
        run(["minisign", "-S", "-s", f"{tmp_path}/m.key", "-m", f"{tmp_path}/m.pub"])
        other = ("--signature", f"{tmp_path}/m.pub.minisig", "--minisign-key", f"{tmp_path}/m.pub")
        assert ocitool.attempt("bundle", "load", bundle, *other).returncode == 3
        assert not ocitool.store.exists()
