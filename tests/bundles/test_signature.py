"""A18: signatures of bundles, verified without OpenSSH: what that made is judged as it does."""

import base64
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.bundles.signature import NAMESPACE, Signer, sign, verify_minisign, verify_signature
from ocitool.bundles.sshsig import parse_sshsig
from ocitool.errors import BadSignature, NotFound, OcitoolError, UsageError

FOLDER = Path(__file__).parent.parent.parent / "fixtures" / "signatures"
DATA = (FOLDER / "list.json").read_bytes()
KINDS = {
    "ed25519": "ssh-ed25519",
    "rsa-3072": "ssh-rsa",
    "ecdsa": "ecdsa-sha2-nistp256",
    "ecdsa-384": "ecdsa-sha2-nistp384",
    "ecdsa-521": "ecdsa-sha2-nistp521",
}
ALICE = "alice@example.org"
FINGERPRINT = "SHA256:jmUgFV2ViCaXBfZ/JimuCDRNSzfrjpO7KjXmriFExNw"


def signature(name: str = "ed25519") -> bytes:
    return (FOLDER / f"{name}.sig").read_bytes()


def public_key(name: str = "ed25519") -> str:
    return " ".join((FOLDER / f"{name}.pub").read_text().split()[:2])


def armored(raw: bytes) -> bytes:
    begin, end = (f"-----{word} SSH SIGNATURE-----\n".encode() for word in ("BEGIN", "END"))
    return begin + base64.encodebytes(raw) + end


def dearmored(text: bytes) -> bytes:
    return base64.b64decode(b"".join(text.split(b"\n")[1:-2]))


@pytest.fixture(autouse=True)
def _without_openssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program is found: these tests are about what works without any."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


@pytest.fixture
def allow(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that writes a file of allowed signers and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "allowed"
        path.write_text(text)
        return str(path)

    return write


class TestA18Verify:
    @pytest.mark.parametrize("name", KINDS)
    def test_each_usual_kind_of_key(self, name: str, allow: Callable[[str], str]) -> None:
        path = allow(f"# who signs\n\n{ALICE} {public_key(name)} a comment\n")
        signer = verify_signature(DATA, signature(name), path, ALICE)
        assert (signer.identity, signer.key_type) == (ALICE, KINDS[name])

    def test_the_fingerprint_is_that_of_ssh_keygen(self, allow: Callable[[str], str]) -> None:
        path = allow(f"{ALICE} {public_key()}")
        assert verify_signature(DATA, signature(), path, ALICE) == Signer(
            identity=ALICE, key_type="ssh-ed25519", fingerprint=FINGERPRINT
        )

    def test_a_signature_over_sha_256(self, allow: Callable[[str], str]) -> None:
        path = allow(f"{ALICE} {public_key()}")
        verify_signature(DATA, signature("ed25519.sha256"), path, ALICE)

    @pytest.mark.parametrize("name", KINDS)
    def test_other_bytes_are_not_signed(self, name: str, allow: Callable[[str], str]) -> None:
        path = allow(f"{ALICE} {public_key(name)}")
        with pytest.raises(BadSignature, match="not over this list"):
            verify_signature(DATA + b" ", signature(name), path, ALICE)

    def test_another_key(self, allow: Callable[[str], str]) -> None:
        path = allow(f"{ALICE} {public_key('ecdsa')}")
        with pytest.raises(BadSignature, match=r"does not let 'alice@example\.org' sign"):
            verify_signature(DATA, signature(), path, ALICE)

    def test_another_identity(self, allow: Callable[[str], str]) -> None:
        path = allow(f"{ALICE} {public_key()}")
        with pytest.raises(BadSignature, match=r"does not let 'eve@example\.org' sign"):
            verify_signature(DATA, signature(), path, "eve@example.org")

    def test_another_namespace(self, allow: Callable[[str], str]) -> None:
        path = allow(f"{ALICE} {public_key()}")
        with pytest.raises(BadSignature, match=f"for 'file', and not for {NAMESPACE}"):
            verify_signature(DATA, signature("ed25519.other-namespace"), path, ALICE)

    def test_without_a_file_of_signers_nothing_is_verified(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            verify_signature(DATA, signature(), str(tmp_path / "none"), ALICE)

    def test_an_empty_identity_is_nobody(self, allow: Callable[[str], str]) -> None:
        path = allow(f"* {public_key()}")
        with pytest.raises(UsageError, match="empty"):
            verify_signature(DATA, signature(), path, "")


class TestA18Damage:
    @pytest.mark.parametrize(
        "damaged",
        [
            b"",
            b"\n",
            b"unsigned",
            b"-----BEGIN PGP SIGNATURE-----\n",
            b"untrusted comment: x\nRUQ=",
        ],
    )
    def test_an_unknown_form_is_an_error(self, damaged: bytes, allow: Callable[[str], str]) -> None:
        path = allow(f"{ALICE} {public_key()}")
        with pytest.raises(BadSignature, match="unknown form"):
            verify_signature(DATA, damaged, path, ALICE)

    def test_every_cut_is_an_error(self, allow: Callable[[str], str]) -> None:
        path, whole = allow(f"{ALICE} {public_key()}"), signature().strip()
        for length in range(len(whole)):
            with pytest.raises(BadSignature):
                verify_signature(DATA, whole[:length], path, ALICE)

    @pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa-3072"])
    def test_every_changed_byte_is_an_error(self, name: str, allow: Callable[[str], str]) -> None:
        path, whole = allow(f"{ALICE} {public_key(name)}"), dearmored(signature(name))
        for position in range(len(whole)):
            changed = bytearray(whole)
            changed[position] ^= 1
            with pytest.raises((BadSignature, UsageError)):
                verify_signature(DATA, armored(bytes(changed)), path, ALICE)

    def test_more_than_a_signature_is_an_error(self, allow: Callable[[str], str]) -> None:
        path = allow(f"{ALICE} {public_key()}")
        with pytest.raises(BadSignature, match="something follows"):
            verify_signature(DATA, armored(dearmored(signature()) + b"\0"), path, ALICE)
        with pytest.raises(BadSignature, match="more than"):
            verify_signature(DATA, armored(bytes(1 << 20)), path, ALICE)

    @given(st.binary(max_size=300))
    def test_any_bytes_are_parsed_or_refused(self, raw: bytes) -> None:
        for text in (raw, armored(raw), armored(b"SSHSIG\0\0\0\1" + raw)):
            with pytest.raises(BadSignature):
                parse_sshsig(text)


class TestA18AllowedSigners:
    @pytest.mark.parametrize(
        "principals",
        [
            ALICE,
            "*",
            "*@example.org",
            "alice@ex*le.or?",
            f"bob@example.org,{ALICE}",
            "*,!eve@*",
            f'"{ALICE}"',
        ],
    )
    def test_patterns_that_match(self, principals: str, allow: Callable[[str], str]) -> None:
        path = allow(f"{principals} {public_key()}")
        verify_signature(DATA, signature(), path, ALICE)

    @pytest.mark.parametrize(
        "principals",
        ["bob@example.org", "*@example.com", "*,!alice@*", "!alice@*,*", "Alice@example.org", "!*"],
    )
    def test_patterns_that_do_not(self, principals: str, allow: Callable[[str], str]) -> None:
        path = allow(f"{principals} {public_key()}")
        with pytest.raises(BadSignature):
            verify_signature(DATA, signature(), path, ALICE)

    @pytest.mark.parametrize(
        ("options", "allowed"),
        [
            ('namespaces="ocitool-bundle"', True),
            ('namespaces="git,ocitool-*"', True),
            ('NAMESPACES="*,!git"', True),
            ('namespaces="git,file"', False),
            ('namespaces="*,!ocitool-bundle"', False),
            ('valid-after="20200101"', True),
            ('valid-after="20990101Z"', False),
            ('valid-before="20990101120000Z"', True),
            ('valid-before="202001011200"', False),
            ('valid-after="20200101",valid-before="20990101"', True),
            ('namespaces="ocitool-bundle",valid-before="20200101"', False),
        ],
    )
    def test_options(self, options: str, *, allowed: bool, allow: Callable[[str], str]) -> None:
        path = allow(f"{ALICE} {options} {public_key()}")
        if allowed:
            verify_signature(DATA, signature(), path, ALICE)
        else:
            with pytest.raises(BadSignature, match="line 1: the key"):
                verify_signature(DATA, signature(), path, ALICE)

    def test_a_second_line_for_the_key_counts(self, allow: Callable[[str], str]) -> None:
        expired = f'{ALICE} valid-before="20200101" {public_key()}\n'
        path = allow(f"{expired}{ALICE} {public_key()}\n")
        verify_signature(DATA, signature(), path, ALICE)

    def test_a_time_without_z_is_of_this_machines_zone(
        self, allow: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.strftime("%Y%m%d%H%M%S", time.gmtime())
        monkeypatch.setenv("TZ", "XXX-10")
        time.tzset()
        try:
            verify_signature(
                DATA, signature(), allow(f'{ALICE} valid-after="{now}" {public_key()}'), ALICE
            )
            with pytest.raises(BadSignature, match="no longer valid"):
                verify_signature(
                    DATA, signature(), allow(f'{ALICE} valid-before="{now}" {public_key()}'), ALICE
                )
        finally:
            monkeypatch.undo()
            time.tzset()

    @pytest.mark.parametrize("option", ["cert-authority", "no-touch-required", 'what="ever"'])
    def test_an_option_that_is_not_honoured_is_refused(
        self, option: str, allow: Callable[[str], str]
    ) -> None:
        path = allow(f"{ALICE} {option} {public_key()}\n{ALICE} {public_key()}\n")
        with pytest.raises(UsageError, match="not honoured without OpenSSH"):
            verify_signature(DATA, signature(), path, ALICE)

    @pytest.mark.parametrize(
        "line",
        [
            ALICE,
            f"{ALICE} ssh-ed25519",
            f"{ALICE} ssh-ed25519 AAAA",
            f"{ALICE} ssh-rsa {public_key().split()[1]}",
            f'{ALICE} namespaces="git {public_key()}',
            f"{ALICE} namespaces=git {public_key()}",
            f'{ALICE} namespaces="a",namespaces="*" {public_key()}',
            f'{ALICE} valid-after="tomorrow" {public_key()}',
            f'{ALICE} valid-after="20201301" {public_key()}',
            f'{ALICE} valid-after="20300101",valid-before="20200101" {public_key()}',
            f'"{ALICE} {public_key()}',
        ],
    )
    def test_a_line_that_is_not_understood_names_itself(
        self, line: str, allow: Callable[[str], str]
    ) -> None:
        path = allow(f"# a comment\n{line}\n")
        with pytest.raises(UsageError, match="line 2"):
            verify_signature(DATA, signature(), path, ALICE)

    def test_lines_about_others_are_not_read(self, allow: Callable[[str], str]) -> None:
        path = allow(f"bob@example.org cert-authority nonsense\n{ALICE} {public_key()}\r\n")
        verify_signature(DATA, signature(), path, ALICE)

    @given(st.text(alphabet='a*?!,"\\= \tnamespcvlid-bfor09Z', max_size=80))
    def test_any_line_is_read_or_refused(self, line: str) -> None:
        from ocitool.bundles.allowed_signers import parse_allowed_signers

        for text in (line, f"{ALICE} {line} {public_key()}"):
            with contextlib.suppress(UsageError):
                assert len(list(parse_allowed_signers(text, "file"))) <= 1

    @given(
        st.lists(st.text(alphabet="ab*?", min_size=1, max_size=4), min_size=1, max_size=3),
        st.text(alphabet="ab", max_size=4),
    )
    def test_patterns_match_as_fnmatch_says(self, patterns: list[str], text: str) -> None:
        from fnmatch import fnmatchcase

        from ocitool.bundles.allowed_signers import matches

        assert matches(text, ",".join(patterns)) == any(fnmatchcase(text, p) for p in patterns)
        assert not matches(text, ",".join([*patterns, "!*"]))


class TestA18WithoutPrograms:
    def test_signing_says_what_to_install(self) -> None:
        with pytest.raises(OcitoolError, match="ssh-keygen, which signs, is not installed"):
            sign(DATA, str(FOLDER / "ed25519.pub"))

    def test_a_key_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="there is no key file"):
            sign(DATA, str(tmp_path / "none"))

    def test_what_is_no_key_of_minisign_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "minisign").touch(mode=0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        for key in ("", "RWQ", public_key(), str(FOLDER / "ed25519.pub")):
            with pytest.raises(UsageError, match="is not a public key of minisign"):
                verify_minisign(DATA, b"", key)

    def test_minisign_says_what_to_install(self) -> None:
        with pytest.raises(OcitoolError, match="minisign is not installed"):
            verify_minisign(DATA, b"", "RWQ")
