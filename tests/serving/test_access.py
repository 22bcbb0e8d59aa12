"""S23, S25, S10: who may do what, and what is refused before it serves."""

import base64
import os
import time
from pathlib import Path

import bcrypt
import pytest

from ocitool.errors import UsageError
from ocitool.serving.access import htpasswd
from ocitool.serving.access.guard import Guard
from ocitool.serving.access.htpasswd import PasswordFile
from ocitool.serving.messages import Refusal, Request
from ocitool.serving.server import ServeOptions, check_options
from ocitool.serving.transport.listening import parse_address, passed_socket


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(cost)).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    dialect = hashed("büro").replace("$2b$", "$2y$")
    path.write_text(f"# team\nann:{hashed('secret')}\n\nbob:{dialect}\n")
    return path


def asking(credential: str | None, path: str = "/v2/a/manifests/1", client: str = "c") -> Request:
    headers = {}
    if credential is not None:
        headers["authorization"] = f"Basic {base64.b64encode(credential.encode()).decode()}"
    return Request(method="GET", target=path, headers=headers, client=client)


class TestS23Users:
    def test_who_knows_the_password(self, file: Path) -> None:
        guard = Guard(PasswordFile(str(file)))
        assert guard.check(asking("ann:secret"), writes=True) == "ann"
        assert guard.check(asking("bob:büro"), writes=False) == "bob"

    @pytest.mark.parametrize(
        "credential", [None, "ann:wrong", "ann:", "ann", "eve:secret", ":", "ann:secret\0x"]
    )
    def test_who_does_not(self, file: Path, credential: str | None) -> None:
        guard = Guard(PasswordFile(str(file)))
        with pytest.raises(Refusal) as caught:
            guard.check(asking(credential), writes=False)
        assert caught.value.status == 401
        assert caught.value.headers["WWW-Authenticate"].startswith("Basic realm=")

    @pytest.mark.parametrize("header", ["Bearer x", "Basic", "Basic !!", "Basic /w==", "basic"])
    def test_what_is_no_credential(self, file: Path, header: str) -> None:
        request = Request(method="GET", target="/v2/", headers={"authorization": header})
        with pytest.raises(Refusal) as caught:
            Guard(PasswordFile(str(file))).check(request, writes=False)
        assert caught.value.status == 401

    def test_anonymous_pull_still_asks_at_the_door(self, file: Path) -> None:
        guard = Guard(PasswordFile(str(file)), anonymous_pull=True)
        assert guard.check(asking(None), writes=False) is None
        for request, writes in ((asking(None, "/v2/"), False), (asking(None), True)):
            with pytest.raises(Refusal) as caught:
                guard.check(request, writes=writes)
            assert caught.value.status == 401

    def test_a_right_password_is_hashed_once(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        passwords = PasswordFile(str(file))
        calls: list[str] = []
        real = htpasswd._matches

        def counted(password: str, stored: str) -> bool:
            calls.append(stored)
            return real(password, stored)

        monkeypatch.setattr(htpasswd, "_matches", counted)
        assert all(passwords.check("ann", "secret") for _ in range(5))
        assert len(calls) == 1
        # A wrong one never is, and an unknown user costs as much as a known one.
        assert not passwords.check("ann", "wrong")
        assert not passwords.check("ann", "wrong")
        assert not passwords.check("eve", "x")
        assert len(calls) == 4
        assert "secret" not in repr(passwords._known)

    def test_the_file_is_read_again_when_it_changes(self, file: Path) -> None:
        passwords = PasswordFile(str(file))
        assert passwords.check("ann", "secret")
        file.write_text(f"ann:{hashed('new')}\n")
        os.utime(file, ns=(1, 1))
        assert not passwords.check("ann", "secret")
        assert passwords.check("ann", "new")
        file.write_text("half a li")
        assert passwords.check("ann", "new")

    def test_a_password_longer_than_bcrypt_reads(self, tmp_path: Path) -> None:
        long = "p" * 100
        path = tmp_path / "users"
        path.write_text(f"ann:{hashed(long)}\n")
        assert PasswordFile(str(path)).check("ann", long)

    @pytest.mark.parametrize(
        ("line", "part"),
        [
            ("ann:$apr1$abc$def", "no bcrypt hash"),
            ("ann:secret", "no bcrypt hash"),
            ("ann", "no bcrypt hash"),
            (f":{'$2b$04$' + 'a' * 53}", "no bcrypt hash"),
            (f"ann:{'$2b$15$' + 'a' * 53}", "a cost of 15"),
        ],
    )
    def test_what_is_refused_at_the_start(self, tmp_path: Path, line: str, part: str) -> None:
        path = tmp_path / "users"
        path.write_text(f"{line}\n")
        with pytest.raises(UsageError, match=part):
            PasswordFile(str(path))

    def test_guessing_is_slowed_down_for_one_address(self, file: Path) -> None:
        guard = Guard(PasswordFile(str(file)))
        statuses = []
        began = time.monotonic()
        for _ in range(8):
            with pytest.raises(Refusal) as caught:
                guard.check(asking("ann:wrong"), writes=False)
            statuses.append(caught.value.status)
        if time.monotonic() - began < 1.0:
            assert statuses == [401] * 5 + [429] * 3
            assert caught.value.headers["Retry-After"] == "1"
        assert guard.check(asking("ann:secret", client="another"), writes=False) == "ann"


def options(**given: object) -> ServeOptions:
    address = parse_address(str(given.pop("addr", "0.0.0.0:0")))
    return ServeOptions(address=address, **given)  # type: ignore[arg-type]


class TestS25WhatIsNotSafe:
    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"writable": True},
            {"plain_http": True, "writable": True},
            {"certificate": "c", "writable": True},
            {"addr": "127.0.0.1:0", "deletable": True},
            {"addr": "127.0.0.1:0", "anonymous_pull": True},
            {"addr": "127.0.0.1:0", "key": "k"},
            {"addr": "127.0.0.1:0", "client_ca": "k"},
            {"addr": "10.0.0.1:5000"},
            {"addr": "[::]:5000"},
        ],
    )
    def test_is_refused(self, given: dict[str, object]) -> None:
        with pytest.raises(UsageError):
            check_options(options(**given))

    @pytest.mark.parametrize(
        "given",
        [
            {"plain_http": True},
            {"certificate": "c"},
            {"plain_http": True, "writable": True, "is_open": True},
            {"certificate": "c", "writable": True, "client_ca": "a"},
            {"certificate": "c", "writable": True, "htpasswd": "h", "anonymous_pull": True},
            {"addr": "127.0.0.1:0", "writable": True, "deletable": True},
            {"addr": "[::1]:0", "writable": True},
            {"addr": "unix:/tmp/x", "writable": True},
        ],
    )
    def test_is_taken(self, given: dict[str, object]) -> None:
        check_options(options(**given))

    @pytest.mark.parametrize("text", ["", "5000", "host", "host:", "host:x", "host:70000", "a:b:1"])
    def test_what_is_no_address(self, text: str) -> None:
        with pytest.raises(UsageError, match="address"):
            parse_address(text)

    def test_a_socket_that_was_passed_to_another_process(self) -> None:
        assert passed_socket({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, 2) is None
        assert passed_socket({"LISTEN_PID": "2", "LISTEN_FDS": "0"}, 2) is None
