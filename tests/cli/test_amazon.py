"""login, push and --create-repo at Amazon's registry with AWS credentials, and GitHub's token."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.places.registry.homes import Home, entry
from tests.places.registry.known_hosts import Named, named
from tests.places.registry.pushes import NAME, whole
from tests.support.aws import EmulatedAws
from tests.support.command import Command, Done
from tests.support.images import build_image, write_layout
from tests.support.registry import Access, Quirks

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
IMAGE = build_image([{"a": b"1"}])


class Job:
    """A job in CI: a home, the registry under its own name, and Amazon's interfaces."""

    def __init__(self, folder: Path, registry: Named, aws: EmulatedAws) -> None:
        self.home = Home(folder / "home")
        self.registry, self.aws = registry, aws
        self.place = f"oci:{write_layout(folder / 'layout', {'1': IMAGE})}:1"
        self._command = Command(folder / "store", folder)
        self._aws = f"127.0.0.1:{aws.server_port}"

    def __call__(self, *arguments: str, **variables: str) -> Done:
        """Run a command with the variables of this home; no secret may be in what it prints."""
        found = {**self.home.variables, "PATH": f"{self.home.helpers.folder}:/usr/bin:/bin"}
        done = self._command(
            *arguments, variables={**found, **self.registry.variables, **variables}
        )
        assert "canary" not in done.out + done.err
        return done

    @property
    def config(self) -> Mapping[str, object]:
        found: Mapping[str, object] = json.loads(
            (self.home.folder / ".docker/config.json").read_text()
        )
        return found


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    with EmulatedAws() as aws:
        access = Access(scheme="basic", users={"AWS": aws.password})
        with named(ECR, tmp_path, Quirks(access=access)) as registry:
            yield Job(tmp_path, registry, aws)


def test_login_gets_the_password_with_aws_credentials(job: Job) -> None:
    done = job("login", ECR, **job.aws.with_keys())
    assert (done.code, done.out) == (0, f"Logged in to {ECR} as AWS\n"), done.err
    assert "AWS_ACCESS_KEY_ID" in done.err
    assert job.config == {"auths": {ECR: entry("AWS", job.aws.password)}}


def test_login_without_credentials_says_what_to_set(job: Job) -> None:
    done = job("login", ECR, **job.aws.environment())
    assert done.code == 5
    assert "AWS_ROLE_ARN" in done.err
    assert not (job.home.folder / ".docker").exists()


def test_amazons_helper_is_left_to_do_it_where_it_is_configured(job: Job) -> None:
    job.home.helpers.keeper("ecr-login", **{ECR: ("AWS", job.aws.password)})
    job.home.docker({"credHelpers": {ECR: "ecr-login"}})
    done = job("login", ECR, **job.aws.with_keys())
    assert done.code == 0, done.err
    assert "kept in helper docker-credential-ecr-login" in done.err
    assert job.aws.log == []
    assert job("push", job.place, f"{ECR}/{NAME}:1", **job.aws.with_keys()).code == 0
    assert job.aws.log == []


def test_a_push_without_a_login_makes_the_repository_and_tells_whose_token(job: Job) -> None:
    words = ("push", job.place, f"{ECR}/{NAME}:1", "--create-repo")
    done = job(*words, **job.aws.with_keys())
    assert done.code == 0, done.err
    assert f"created the repository {ECR}/{NAME}" in done.err
    assert done.err.count("AWS_ACCESS_KEY_ID") == 1
    assert whole(job.registry.registry, IMAGE)
    assert job.aws.repositories == {NAME}
    again = job(*words, **job.aws.with_keys())
    assert (again.code, "created" in again.err) == (0, False)


def test_a_push_with_credentials_that_do_not_work_says_so(job: Job) -> None:
    job.aws.refusal = "ExpiredTokenException"
    done = job("push", job.place, f"{ECR}/{NAME}:1", **job.aws.with_keys())
    assert done.code == 5
    assert "ExpiredTokenException" in done.err


class TestGithub:
    @pytest.fixture
    def github(self, tmp_path: Path) -> Iterator[Job]:
        access = Access(scheme="bearer", users={"ann": "canary-github", "bob": "canary-bob"})
        with EmulatedAws() as aws, named("ghcr.io", tmp_path, Quirks(access=access)) as registry:
            yield Job(tmp_path, registry, aws)

    def test_the_token_of_a_job_is_used_and_told(self, github: Job) -> None:
        variables = {"GITHUB_TOKEN": "canary-github", "GITHUB_ACTOR": "ann"}
        done = github("push", github.place, f"ghcr.io/{NAME}:1", **variables)
        assert done.code == 0, done.err
        assert done.err.count("GITHUB_TOKEN is used, as ann") == 1
        assert whole(github.registry.registry, IMAGE)

    def test_what_is_configured_comes_first(self, github: Job) -> None:
        github.home.docker({"auths": {"ghcr.io": entry("bob", "canary-bob")}})
        variables = {"GITHUB_TOKEN": "canary-wrong", "GITHUB_ACTOR": "ann"}
        done = github("push", github.place, f"ghcr.io/{NAME}:1", **variables)
        assert done.code == 0, done.err
        assert "GITHUB_TOKEN" not in done.err

    def test_a_token_without_its_actor_is_not_used(self, github: Job) -> None:
        done = github("push", github.place, f"ghcr.io/{NAME}:1", GITHUB_TOKEN="canary-github")
        assert done.code == 5
