"""Repositories made by the aws command: a program on the PATH that answers as Amazon's does."""

import os
from pathlib import Path

import pytest

from ocitool.errors import AccessDenied, NotFound, OcitoolError, Unavailable, UsageError
from ocitool.places.registry.create_repository import create_repository

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


class Aws:
    """A program called aws, in a folder that is all of the PATH."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._words = folder / "words"

    def answers(self, script: str) -> None:
        """Have it do what a shell script says, once it has noted its words."""
        program = self._folder / "aws"
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{self._words}'\n{script}\n")
        program.chmod(0o755)

    @property
    def words(self) -> list[str]:
        """The words that it was called with."""
        return self._words.read_text().split("\n")[:-1]


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Aws(tmp_path)


def test_a_repository_is_made_in_the_region_of_its_host(aws: Aws) -> None:
    aws.answers("echo '{}'")
    assert create_repository(ECR, "team/app")
    expected = "ecr create-repository --repository-name team/app --region eu-central-1"
    assert aws.words == [*expected.split(), "--output", "json"]


def test_a_public_repository_is_called_by_its_name_without_the_alias(aws: Aws) -> None:
    aws.answers("echo '{}'")
    assert create_repository("public.ecr.aws", "a1b2c3d4/app")
    assert aws.words[:4] == ["ecr-public", "create-repository", "--repository-name", "app"]


def test_one_that_exists_is_no_failure(aws: Aws) -> None:
    aws.answers("echo 'An error occurred (RepositoryAlreadyExistsException)' >&2; exit 254")
    assert not create_repository(ECR, "team/app")


@pytest.mark.parametrize(
    "text",
    [
        "An error occurred (AccessDeniedException) when calling CreateRepository",
        "An error occurred (ExpiredTokenException): the security token is expired",
        "Unable to locate credentials. You can configure credentials by running aws configure",
    ],
)
def test_what_the_identity_may_not_do_is_access_denied(aws: Aws, text: str) -> None:
    aws.answers(f"echo '{text}' >&2; exit 254")
    with pytest.raises(AccessDenied) as caught:
        create_repository(ECR, "team/app")
    assert text in caught.value.message
    assert caught.value.hint == "look at the rights of the AWS identity"


def test_any_other_failure_is_told_with_the_command(aws: Aws) -> None:
    aws.answers("echo 'Could not connect to the endpoint URL' >&2; exit 255")
    with pytest.raises(OcitoolError, match="endpoint URL") as caught:
        create_repository(ECR, "team/app")
    assert caught.value.message.startswith("`aws ecr create-repository")


def test_a_command_that_hangs_is_given_up(aws: Aws) -> None:
    aws.answers("exec /bin/sleep 60")
    with pytest.raises(Unavailable, match=r"not ended in 0\.2 seconds"):
        create_repository(ECR, "team/app", seconds=0.2)


def test_without_the_command_the_words_to_run_elsewhere_are_told(aws: Aws) -> None:
    assert os.environ["PATH"]
    with pytest.raises(NotFound, match="aws") as caught:
        create_repository(ECR, "team/app")
    assert caught.value.hint is not None
    assert "--repository-name team/app --region eu-central-1" in caught.value.hint


def test_registries_that_make_repositories_by_themselves_need_none(aws: Aws) -> None:
    with pytest.raises(UsageError, match=r"ghcr\.io") as caught:
        create_repository("ghcr.io", "team/app")
    assert caught.value.hint == "leave out --create-repo"
