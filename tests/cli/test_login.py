"""login and logout, as processes, against a registry on the loopback."""

import json
import os
import pty
import select
import stat
import sys
import time
from pathlib import Path

import pytest

from tests.places.registry.homes import HUB_KEY, Home, auths, entry
from tests.support import forked
from tests.support.certificates import Authority
from tests.support.command import ROOT, Done
from tests.support.fault_proxy import ConnectProxy
from tests.support.images import build_image
from tests.support.registry import Access, EmulatedRegistry, Quirks

WRONG = "canary-wr0ng"
USERS = {"ann": "s3cret", "bob": " two\nlines "}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def registry(scheme: str = "bearer", **access: object) -> EmulatedRegistry:
    made = Access(scheme=scheme, users=USERS, **access)  # type: ignore[arg-type]
    return EmulatedRegistry(Quirks(access=made))


def run(home: Home, *arguments: str, stdin: bytes = b"") -> Done:
    done = forked.run(arguments, cwd=home.folder, env=home.variables, stdin=stdin)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def content(home: Home) -> object:
    return json.loads((home.folder / ".docker/config.json").read_text())


class TestLogin:
    @pytest.mark.parametrize("scheme", ["basic", "bearer"])
    def test_a_right_password_is_kept(self, home: Home, scheme: str) -> None:
        with registry(scheme) as server:
            done = run(home, "login", server.host, "-u", "ann", "--password-stdin", stdin=b"s3cret")
            assert content(home) == {"auths": {server.host: entry("ann", "s3cret")}}
        assert (done.code, done.out) == (0, f"Logged in to {server.host} as ann\n")
        path = home.folder / ".docker/config.json"
        assert f"kept in {path}, unencrypted" in done.err
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("scheme", ["basic", "bearer"])
    def test_a_wrong_password_is_refused_and_not_kept(self, home: Home, scheme: str) -> None:
        with registry(scheme) as server:
            done = run(
                home, "login", server.host, "-u", "ann", "--password-stdin", stdin=WRONG.encode()
            )
        assert done.code == 5
        assert "check the user name and the password" in done.err
        assert WRONG not in done.out + done.err
        assert not (home.folder / ".docker").exists()

    def test_a_wrong_password_is_refused_where_everybody_may_read(self, home: Home) -> None:
        with registry(anonymous_pull=True) as server:
            done = run(home, "login", server.host, "-u", "ann", "--password-stdin", stdin=b"wrong")
        assert done.code == 5

    def test_what_could_not_be_checked_is_said(self, home: Home) -> None:
        with registry(open_ping=True) as server:
            done = run(home, "login", server.host, "-u", "ann", "--password-stdin", stdin=b"any")
        assert done.code == 0
        assert "it was not checked" in done.err

    @pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
    def test_one_newline_at_the_end_is_not_of_the_password(self, home: Home, ending: bytes) -> None:
        given = b" two\nlines " + ending
        with registry("basic") as server:
            done = run(home, "login", server.host, "-u", "bob", "--password-stdin", stdin=given)
        assert done.code == 0, done.err

    def test_a_second_newline_is(self, home: Home) -> None:
        with registry("basic") as server:
            done = run(
                home, "login", server.host, "-u", "ann", "--password-stdin", stdin=b"s3cret\n\n"
            )
        assert done.code == 5

    def test_a_helper_keeps_it(self, home: Home) -> None:
        home.helpers.keeper("pass")
        home.docker({"credsStore": "pass"})
        with registry() as server:
            done = run(home, "login", server.host, "-u", "ann", "--password-stdin", stdin=b"s3cret")
        assert done.code == 0
        assert "kept in helper docker-credential-pass\n" in done.err
        assert home.helpers.secrets("pass") == {server.host: ["ann", "s3cret"]}

    def test_what_is_kept_already_is_not_written_again(self, home: Home) -> None:
        """As in a container whose configuration is mounted read-only."""
        with registry() as server:
            words = ("login", server.host, "-u", "ann", "--password-stdin")
            assert run(home, *words, stdin=b"s3cret").code == 0
            path = home.folder / ".docker/config.json"
            before = path.stat()
            assert run(home, *words, stdin=b"s3cret").code == 0
            assert (path.stat().st_ino, path.stat().st_mtime_ns) == (
                before.st_ino,
                before.st_mtime_ns,
            )

    def test_a_missing_helper_is_told_with_its_file(self, home: Home) -> None:
        path = home.docker({"credsStore": "desktop"})
        with registry() as server:
            done = run(home, "login", server.host, "-u", "ann", "--password-stdin", stdin=b"s3cret")
        assert done.code == 5
        assert f"{path} names the credential helper docker-credential-desktop" in done.err

    def test_the_result_as_json(self, home: Home) -> None:
        with registry() as server:
            done = run(
                home,
                *("login", "--json", server.host, "-u", "ann", "--password-stdin"),
                *("--authfile", "auth.json"),
                stdin=b"s3cret",
            )
        assert done.json == {"registry": server.host, "username": "ann", "kept_in": "auth.json"}
        assert (home.folder / "auth.json").exists()

    def test_nothing_secret_is_in_the_arguments_or_output(self, home: Home) -> None:
        with registry() as server:
            done = run(
                home, "--debug", "login", server.host, "-u", "ann", "--password-stdin",
                stdin=b"s3cret",
            )  # fmt: skip
        assert "s3cret" not in done.out + done.err
        assert entry("ann", "s3cret")["auth"] not in done.out + done.err


class TestTokenServers:
    """A token server on another host, as that of GitLab and Artifactory in one's own house."""

    def test_one_that_was_allowed_is_remembered(self, home: Home) -> None:
        with registry() as office, registry() as served:
            realm = f"{office.url.replace('127.0.0.1', 'localhost')}/token"
            with EmulatedRegistry(
                Quirks(access=Access(scheme="bearer", users=USERS, realm=realm)),
                tokens=office.office,
            ) as server:
                name = f"{server.host}/a/b"
                server.add_image("a/b", build_image(), "1")
                words = ("login", server.host, "-u", "ann", "--password-stdin")
                done = run(home, *words, stdin=b"s3cret")
                assert done.code == 5
                assert (
                    f"ocitool login {server.host} --allow-realm localhost, or for one command "
                    "--allow-realm localhost or OCITOOL_ALLOW_REALM=localhost"
                ) in done.err
                done = run(home, *words, "--allow-realm", "localhost", stdin=b"s3cret")
                assert done.code == 0, done.err
                assert "its token server localhost may see it from now on" in done.err
                assert run(home, *words, stdin=b"s3cret").code == 0
                assert run(home, "registry", "tags", name).out == "1\n"
                assert run(home, "logout", server.host).code == 0
                assert content(home) == {"auths": {}}
                home.docker(auths(**{server.host: "ann"}))
            assert served.log == []

    def test_a_variable_allows_them(self, home: Home) -> None:
        with registry() as office:
            realm = f"{office.url.replace('127.0.0.1', 'localhost')}/token"
            quirks = Quirks(access=Access(scheme="bearer", users=USERS, realm=realm))
            with EmulatedRegistry(quirks, tokens=office.office) as server:
                server.add_image("a/b", build_image(), "1")
                home.docker({"auths": {server.host: entry("ann", "s3cret")}})
                words = ("registry", "tags", f"{server.host}/a/b")
                assert run(home, *words).code == 5
                home.variables["OCITOOL_ALLOW_REALM"] = "other.example,localhost"
                assert run(home, *words).out == "1\n"

    def test_one_in_the_registrys_own_domain_is_trusted_by_a_login(
        self, home: Home, tmp_path: Path
    ) -> None:
        authority = Authority(tmp_path / "authority")
        hosts = ("registry.corp.example", "gitlab.corp.example")
        tls = authority.server(names=(*hosts, "127.0.0.1")).serve()
        realm = f"https://{hosts[1]}/token"
        access = Access(scheme="bearer", users=USERS, realm=realm)
        with EmulatedRegistry(Quirks(access=access), tls) as server:
            routes = {f"{host}:443": server.host for host in hosts}
            with ConnectProxy(routes=routes) as proxy:
                home.variables["HTTPS_PROXY"] = proxy.url
                home.variables["SSL_CERT_FILE"] = str(authority.certificate)
                server.add_image("a/b", build_image(), "1")
                words = ("login", hosts[0], "-u", "ann", "--password-stdin")
                done = run(home, *words, stdin=b"s3cret")
                assert done.code == 0, done.err
                assert f"its token server {hosts[1]} may see it from now on" in done.err
                assert run(home, "registry", "tags", f"{hosts[0]}/a/b").out == "1\n"
                # Without a login nobody has said that the two belong together.
                home.docker({"auths": {hosts[0]: entry("ann", "s3cret")}})
                assert run(home, "registry", "tags", f"{hosts[0]}/a/b").code == 5

    @pytest.mark.parametrize("realm", ["null://x/v2/token", "http://user:pw@localhost/token"])
    def test_a_broken_one_is_not_the_passwords_fault(self, home: Home, realm: str) -> None:
        with registry(realm=realm) as server:
            done = run(home, "login", server.host, "-u", "ann", "--password-stdin", stdin=b"s3cret")
        assert done.code == 5
        assert "look at the registry's address and configuration" in done.err
        assert "check the user name and the password" not in done.err


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "stdin", "said"),
        [
            (["-u", "ann", "-p", WRONG], b"", "can be read by every user of this machine"),
            (["-u", "ann", f"--password={WRONG}"], b"", "can be read by every user"),
            (["--password-stdin"], b"x", "give -u USER"),
            (["-u", "ann"], b"x", "there is no terminal"),
            ([], b"x", "there is no terminal"),
            (["-u", "a:b", "--password-stdin"], b"x", "is not a user name"),
            (["-u", "", "--password-stdin"], b"x", "is not a user name"),
            (["-u", "ann", "--password-stdin"], b"\n", "the password is empty"),
        ],
    )
    def test_they_are_told(self, home: Home, arguments: list[str], stdin: bytes, said: str) -> None:
        done = run(home, "login", "registry.example", *arguments, stdin=stdin)
        assert done.code == 2
        assert said in done.err
        assert WRONG not in done.err

    @pytest.mark.parametrize(
        "host", ["ghcr.io/A", "ghcr.io/a:1", "nodots", "a b.c", "", "https://", "-x.y", "a.b@c"]
    )
    def test_what_is_no_host_is_refused(self, home: Home, host: str) -> None:
        done = run(home, "logout", "--", host)
        assert done.code == 2
        assert "is not a registry host" in done.err

    def test_all_and_a_host_do_not_go_together(self, home: Home) -> None:
        assert run(home, "logout", "--all", "ghcr.io").code == 2


class TestLogout:
    def test_a_login_is_forgotten(self, home: Home) -> None:
        home.docker(auths(**{"ghcr.io": "ann", "quay.io": "bob"}))
        done = run(home, "logout", "ghcr.io")
        assert (done.code, done.out) == (0, "Logged out from ghcr.io\n")
        assert content(home) == auths(**{"quay.io": "bob"})

    @pytest.mark.parametrize("host", [[], ["docker.io"], [HUB_KEY], ["https://docker.io/"]])
    def test_without_a_host_it_is_docker_hub(self, home: Home, host: list[str]) -> None:
        home.docker(auths(**{HUB_KEY: "ann"}))
        done = run(home, "logout", *host)
        assert done.out == "Logged out from docker.io\n"
        assert content(home) == {"auths": {}}

    def test_no_login_is_no_failure(self, home: Home) -> None:
        done = run(home, "logout", "ghcr.io")
        assert (done.code, done.out) == (0, "Not logged in to ghcr.io\n")

    def test_what_another_file_still_has_is_said(self, home: Home) -> None:
        home.docker(auths(**{"ghcr.io": "ann"}))
        path = home.write("run/containers/auth.json", auths(**{"ghcr.io": "ann"}))
        done = run(home, "logout", "ghcr.io")
        assert done.code == 0
        assert f"{path} still has a credential for ghcr.io" in done.err

    def test_all_are_forgotten(self, home: Home) -> None:
        home.docker(auths(**{"ghcr.io": "ann", "quay.io": "bob"}))
        done = run(home, "logout", "--all", "--json")
        assert done.json == {"removed": ["ghcr.io", "quay.io"]}
        assert content(home) == {"auths": {}}

    def test_a_name_in_the_file_cannot_control_the_terminal(self, home: Home) -> None:
        home.docker(auths(**{"x\x1b[2J": "ann"}))
        assert "\x1b" not in run(home, "logout", "--all").out


class TestNamespaces:
    def test_a_part_of_a_registry_has_a_login_of_its_own(self, home: Home) -> None:
        home.helpers.keeper("keep")
        home.docker({"credsStore": "keep"})
        with registry() as server:
            part = f"{server.host}/team"
            done = run(home, "login", part, "-u", "ann", "--password-stdin", stdin=b"s3cret")
            assert (done.code, done.out) == (0, f"Logged in to {part} as ann\n")
            assert content(home) == {
                "credsStore": "keep",
                "auths": {part: entry("ann", "s3cret")},
            }
            assert home.helpers.calls("keep") == []
            assert run(home, "logout", server.host).out.startswith("Not logged in")
            assert run(home, "logout", part).out == f"Logged out from {part}\n"
        assert content(home) == {"credsStore": "keep", "auths": {}}


class TestTerminal:
    def converse(
        self, home: Home, arguments: list[str], answers: dict[str, str]
    ) -> tuple[int, str]:
        """Run a command in a terminal, answer its prompts; return its exit code and the screen."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(home.folder)
            words = [sys.executable, "-m", "ocitool", *arguments]
            os.execve(words[0], words, {**home.variables, "PYTHONPATH": str(ROOT)})
        screen = ""
        waiting = dict(answers)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                screen += os.read(terminal, 4096).decode()
            except OSError:
                break
            for prompt in [prompt for prompt in waiting if screen.endswith(prompt)]:
                os.write(terminal, f"{waiting.pop(prompt)}\n".encode())
        _, status = os.waitpid(child, 0)
        os.close(terminal)
        return os.waitstatus_to_exitcode(status), screen

    def test_name_and_password_are_asked_and_the_password_is_not_shown(self, home: Home) -> None:
        with registry() as server:
            code, screen = self.converse(
                home, ["login", server.host], {"Username: ": "ann", "Password: ": "s3cret"}
            )
            assert content(home) == {"auths": {server.host: entry("ann", "s3cret")}}
        assert code == 0
        assert "Username: ann" in screen
        assert "s3cret" not in screen

    def test_a_password_from_stdin_is_not_typed_where_it_shows(self, home: Home) -> None:
        code, screen = self.converse(
            home, ["login", "registry.example", "-u", "ann", "--password-stdin"], {}
        )
        assert code == 2
        assert "would show the password" in screen
