"""Talking to credential helpers, which are real programs here."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from ocitool.places.registry.credentials.credential import CredentialProblem
from ocitool.places.registry.credentials.helper import CredentialHelper, HelperMissing
from tests.places.registry.fake_helpers import Helpers

SECRET = "canary-s3cret"


@pytest.fixture
def helpers(tmp_path: Path) -> Helpers:
    return Helpers(tmp_path / "bin")


def helper(helpers: Helpers, name: str, seconds: float = 30) -> CredentialHelper:
    path = f"{helpers.folder}:/usr/bin:/bin"
    return CredentialHelper(name, {"PATH": path, "LANG": "C"}, seconds)


class TestGet:
    def test_the_host_goes_in_and_a_name_and_secret_come_out(self, helpers: Helpers) -> None:
        helpers.keeper("pass", **{"host:5000": ("ann", SECRET)})
        assert helper(helpers, "pass").get("host:5000") == ("ann", SECRET)
        assert helpers.calls("pass") == [(["get"], "host:5000")]

    def test_what_it_does_not_know_is_none(self, helpers: Helpers) -> None:
        helpers.keeper("pass")
        assert helper(helpers, "pass").get("host") is None

    def test_an_empty_secret_is_none(self, helpers: Helpers) -> None:
        helpers.script("x", """echo '{"ServerURL":"h","Username":"","Secret":""}'""")
        assert helper(helpers, "x").get("h") is None

    def test_a_helper_that_reads_no_input_does_no_harm(self, helpers: Helpers) -> None:
        helpers.script("x", """echo '{"Username":"u","Secret":"s"}'; exec <&-""")
        assert helper(helpers, "x").get("h" * 1_000_000) == ("u", "s")


class TestFailures:
    def problem(self, helpers: Helpers, text: str) -> str:
        helpers.script("x", text)
        with pytest.raises(CredentialProblem) as caught:
            helper(helpers, "x").get("host")
        return caught.value.message

    def test_a_program_that_is_not_there_is_missing(self, helpers: Helpers) -> None:
        with pytest.raises(HelperMissing, match="docker-credential-none is not on PATH"):
            helper(helpers, "none").get("host")

    @pytest.mark.parametrize("path", ["", "/nonexistent"])
    def test_an_empty_path_has_no_programs(self, path: str) -> None:
        with pytest.raises(HelperMissing):
            CredentialHelper("pass", {"PATH": path}).get("host")

    def test_one_that_may_not_be_run_is_missing(self, helpers: Helpers) -> None:
        helpers.script("x", "echo")
        (helpers.folder / "docker-credential-x").chmod(0o644)
        with pytest.raises(HelperMissing):
            helper(helpers, "x").get("host")

    def test_one_that_is_no_program_cannot_be_run(self, helpers: Helpers) -> None:
        helpers.script("x", "")
        (helpers.folder / "docker-credential-x").write_text("#!/nonexistent/interpreter\n")
        with pytest.raises(CredentialProblem, match="cannot be run"):
            helper(helpers, "x").get("host")

    def test_what_it_says_on_stdout_is_told(self, helpers: Helpers) -> None:
        said = self.problem(helpers, "echo 'no credentials server URL'; exit 1")
        assert said == "docker-credential-x get failed: 'no credentials server URL'"

    def test_what_it_says_on_stderr_is_told_when_that_is_all(self, helpers: Helpers) -> None:
        assert "'gpg: locked'" in self.problem(helpers, "echo 'gpg: locked' >&2; exit 2")

    def test_one_that_says_nothing_is_told_by_its_exit_code(self, helpers: Helpers) -> None:
        assert self.problem(helpers, "exit 3").endswith("failed: exit code 3")

    def test_what_it_says_cannot_control_a_terminal(self, helpers: Helpers) -> None:
        said = self.problem(helpers, r"printf 'a\033[2Jb\nc'; exit 1")
        assert said.isprintable()

    @pytest.mark.parametrize(
        "text",
        [
            f"echo {SECRET}",
            f"echo '[\"{SECRET}\"]'",
            f"""echo '{{"Username":7,"Secret":"{SECRET}"}}'""",
            f"""echo '{{"Secret":"{SECRET}"}}'""",
            f"""echo '{{"Username":"u","Secret":"{SECRET}"}}'; exit 1""",
            f"""echo '{{"Username":"u","Secret":"{SECRET}' """,
        ],
    )
    def test_an_answer_that_is_not_of_the_protocol_is_not_shown(
        self, helpers: Helpers, text: str
    ) -> None:
        assert SECRET not in self.problem(helpers, text)

    def test_one_that_hangs_is_ended(self, helpers: Helpers) -> None:
        helpers.script("x", "exec sleep 60")
        begin = time.monotonic()
        with pytest.raises(CredentialProblem, match=r"did not answer in 0\.3 s"):
            helper(helpers, "x", seconds=0.3).get("host")
        assert time.monotonic() - begin < 10

    def test_one_whose_child_keeps_the_pipe_is_not_waited_for(self, helpers: Helpers) -> None:
        helpers.script("x", 'sleep 20 & echo $! > "$0.pid"; wait')
        begin = time.monotonic()
        try:
            with pytest.raises(CredentialProblem, match="did not answer"):
                helper(helpers, "x", seconds=0.3).get("host")
            assert time.monotonic() - begin < 10
        finally:
            os.kill(int((helpers.folder / "docker-credential-x.pid").read_text()), signal.SIGKILL)


class TestSecrets:
    @pytest.mark.parametrize(
        "text",
        [
            'echo "boom $(cat)"; exit 1',
            'echo "boom $(cat)" >&2; exit 1',
            "sed 's/.*Secret\": \"//' ; exit 1",
            "sed 's/.*Secret\": \"//' >&2; exit 1",
        ],
    )
    @pytest.mark.parametrize("secret", ["s3cretPW", 'with "quotes" \\ and more'])
    def test_what_was_to_be_kept_shows_in_no_error(
        self, helpers: Helpers, text: str, secret: str
    ) -> None:
        helpers.script("x", text)
        with pytest.raises(CredentialProblem) as caught:
            helper(helpers, "x").store("host", "user", secret)
        shown = str(caught.value)
        assert secret not in shown
        assert json.dumps(secret)[1:-1] not in shown
        assert "s3cret" not in shown


class TestOtherActions:
    def test_a_secret_is_stored_through_stdin_alone(self, helpers: Helpers) -> None:
        helpers.keeper("pass")
        helper(helpers, "pass").store("host", "ann", SECRET)
        assert helpers.secrets("pass") == {"host": ["ann", SECRET]}
        ((arguments, given),) = helpers.calls("pass")
        assert arguments == ["store"]
        assert json.loads(given) == {"ServerURL": "host", "Username": "ann", "Secret": SECRET}

    def test_erasing_tells_whether_there_was_something(self, helpers: Helpers) -> None:
        helpers.keeper("pass", host=("ann", SECRET))
        assert helper(helpers, "pass").erase("host")
        assert not helper(helpers, "pass").erase("host")
        assert helpers.secrets("pass") == {}

    def test_the_servers_are_listed(self, helpers: Helpers) -> None:
        helpers.keeper("pass", a=("ann", SECRET), b=("bob", SECRET))
        assert helper(helpers, "pass").servers() == ("a", "b")

    def test_a_store_that_fails_does_not_tell_the_secret(self, helpers: Helpers) -> None:
        helpers.script("x", "cat; exit 1")
        with pytest.raises(CredentialProblem) as caught:
            helper(helpers, "x").store("host", "ann", SECRET)
        assert SECRET not in caught.value.message
