"""Tokens for Amazon's registries and repositories made there, with credentials from everywhere."""

import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ocitool.errors import AccessDenied, OcitoolError, Unavailable, UsageError
from ocitool.places.registry.aws import client as aws_client
from ocitool.places.registry.aws.ecr import (
    ambient_credential,
    create_repository,
    login_credential,
)
from tests.support.aws import ACCESS, ROLE, SECRET, WEB_TOKEN, EmulatedAws
from tests.support.registry_faults import Status

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
KEYS = f"aws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"
LOOP = "role_arn = x\nsource_profile = "
PRIVATE, PUBLIC = "AmazonEC2ContainerRegistry_V20150921", "SpencerFrontendService"
TOKEN = "GetAuthorizationToken"


@pytest.fixture
def aws() -> Iterator[EmulatedAws]:
    with EmulatedAws() as found:
        yield found


def refusal(
    environment: Mapping[str, str], call: Callable[..., object] = login_credential
) -> OcitoolError:
    """Return the error of a call; no secret may be in anything about it."""
    with pytest.raises(OcitoolError) as caught:
        call(environment, ECR, *(["a/b"] if call is create_repository else []))
    assert "canary" not in "".join(traceback.format_exception_only(caught.value))
    assert "canary" not in str(caught.value.hint)
    return caught.value


class TestOperations:
    @pytest.mark.parametrize(("domain", "target"), [(ECR, PRIVATE), ("public.ecr.aws", PUBLIC)])
    def test_a_token_is_the_password(self, aws: EmulatedAws, domain: str, target: str) -> None:
        found = login_credential(aws.with_keys(), domain)
        assert (found.pair, found.origin) == (("AWS", aws.password), "AWS_ACCESS_KEY_ID")
        assert aws.operations == [(target, TOKEN)]
        assert "canary" not in repr(found)

    def test_a_repository_is_made_once(self, aws: EmulatedAws) -> None:
        assert create_repository(aws.with_keys(), ECR, "team/app")
        assert not create_repository(aws.with_keys(), ECR, "team/app")
        assert aws.repositories == {"team/app"}

    def test_a_public_repository_is_called_by_its_name_without_the_alias(
        self, aws: EmulatedAws
    ) -> None:
        assert create_repository(aws.with_keys(), "public.ecr.aws", "a1b2c3d4/app")
        assert aws.repositories == {"app"}

    def test_registries_that_make_repositories_by_themselves_need_none(self) -> None:
        with pytest.raises(UsageError, match=r"ghcr\.io") as caught:
            create_repository({}, "ghcr.io", "team/app")
        assert caught.value.hint == "leave out --create-repo"

    @pytest.mark.parametrize("kind", ["AccessDeniedException", "ExpiredTokenException"])
    @pytest.mark.parametrize("call", [login_credential, create_repository])
    def test_what_the_identity_may_not_do_is_access_denied(
        self, aws: EmulatedAws, kind: str, call: Callable[..., object]
    ) -> None:
        aws.refusal = kind
        error = refusal(aws.with_keys(), call)
        assert isinstance(error, AccessDenied)
        assert kind in error.message
        assert "AWS_ACCESS_KEY_ID" in str(error.hint)

    def test_a_wrong_secret_is_refused_by_its_signature(self, aws: EmulatedAws) -> None:
        error = refusal(aws.with_keys() | {"AWS_SECRET_ACCESS_KEY": "canary-other"})
        assert "InvalidSignatureException" in error.message

    def test_an_interface_in_trouble_is_asked_again(
        self, aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(aws_client, "_LONGEST_WAIT", 0.02)
        aws.fail("POST", "/", Status(status=503), times=2)
        assert login_credential(aws.with_keys(), ECR).password == aws.password
        aws.fail("POST", "/", Status(status=503), times=9)
        assert isinstance(refusal(aws.with_keys()), Unavailable)

    def test_a_host_that_is_not_there_is_unavailable(self) -> None:
        nowhere = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "canary"}
        error = refusal({**nowhere, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
        assert isinstance(error, Unavailable)


class TestWhereCredentialsAreFound:
    def test_nowhere_is_told_with_what_to_set(self, aws: EmulatedAws, tmp_path: Path) -> None:
        error = refusal(aws.environment(HOME=str(tmp_path)))
        assert isinstance(error, AccessDenied)
        assert "AWS_ROLE_ARN" in str(error.hint)
        assert ambient_credential(aws.environment(HOME=str(tmp_path)), ECR) is None
        assert ambient_credential(aws.with_keys(), "public.ecr.aws") is None
        assert aws.log == []

    def test_a_session_token_is_signed_too(self, aws: EmulatedAws) -> None:
        keys = aws.new_keys()
        environment = aws.environment(
            AWS_ACCESS_KEY_ID=keys["AccessKeyId"],
            AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"],
            AWS_SESSION_TOKEN=keys["SessionToken"],
        )
        assert login_credential(environment, ECR).password == aws.password

    @pytest.mark.parametrize("way", ["file", "variable", "github"])
    def test_a_web_identity_is_exchanged_for_its_role(
        self, aws: EmulatedAws, tmp_path: Path, way: str
    ) -> None:
        (tmp_path / "token").write_text(f"{WEB_TOKEN}\n")
        ways = {
            "file": {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token")},
            "variable": {"AWS_WEB_IDENTITY_TOKEN": WEB_TOKEN},
            "github": {
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{aws.url}/github?api-version=2.0",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary-request",
            },
        }
        environment = aws.environment(AWS_ROLE_ARN=ROLE, AWS_ROLE_SESSION_NAME="job-7", **ways[way])
        found = login_credential(environment, ECR)
        assert (found.password, found.origin) == (aws.password, f"the role {ROLE}")
        action = f"AssumeRoleWithWebIdentity {ROLE} job-7"
        assert aws.operations == [("sts", action), (PRIVATE, TOKEN)]
        assert not any("Authorization" in one.headers for one in aws.requests("POST", "/$")[:1])

    def test_a_refused_web_identity_shows_nothing_of_it(self, aws: EmulatedAws) -> None:
        error = refusal(aws.environment(AWS_ROLE_ARN=ROLE, AWS_WEB_IDENTITY_TOKEN="canary-x"))
        assert "InvalidIdentityToken" in error.message
        github = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{aws.url}/github?a=b",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary-wrong",
        }
        error = refusal(aws.environment(AWS_ROLE_ARN=ROLE, **github))
        assert "id-token: write" in str(error.hint)

    def test_a_container_has_its_own(self, aws: EmulatedAws, tmp_path: Path) -> None:
        (tmp_path / "token").write_text(aws.metadata_token)
        environment = aws.environment(
            AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{aws.url}/container",
            AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(tmp_path / "token"),
        )
        assert login_credential(environment, ECR).origin == "the container's role"
        (tmp_path / "token").write_text("canary-wrong")
        assert "403" in refusal(environment).message

    def test_a_containers_authorization_goes_to_no_other_host(self) -> None:
        environment = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://evil.example/x",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "canary",
        }
        assert "without TLS" in refusal(environment).message

    def test_a_machine_has_its_own_but_is_not_asked_unbidden(self, aws: EmulatedAws) -> None:
        environment = aws.environment(AWS_EC2_METADATA_SERVICE_ENDPOINT=aws.url)
        assert ambient_credential(environment, ECR) is None
        refusal(environment)
        assert aws.log == []
        del environment["AWS_EC2_METADATA_DISABLED"]
        assert login_credential(environment, ECR).origin == "this machine's role node-role"

    def test_metadata_is_never_asked_by_a_proxy(self, aws: EmulatedAws) -> None:
        environment = aws.environment(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{aws.url}/container")
        environment |= {
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": aws.metadata_token,
            "HTTP_PROXY": "http://127.0.0.1:1",
            "ALL_PROXY": "http://127.0.0.1:1",
        }
        assert login_credential(environment, ECR).password == aws.password


class TestProfiles:
    @pytest.fixture
    def environment(self, aws: EmulatedAws, tmp_path: Path) -> dict[str, str]:
        (tmp_path / ".aws").mkdir()
        return aws.environment(HOME=str(tmp_path))

    def write(self, environment: Mapping[str, str], name: str, text: str) -> None:
        (Path(environment["HOME"]) / ".aws" / name).write_text(text)

    @pytest.mark.parametrize(
        ("file", "section", "profile"),
        [
            ("credentials", "default", None),
            ("credentials", "ci", "ci"),
            ("config", "default", None),
            ("config", "profile ci", "ci"),
        ],
    )
    def test_keys_of_a_profile(
        self,
        aws: EmulatedAws,
        environment: dict[str, str],
        file: str,
        section: str,
        profile: str | None,
    ) -> None:
        self.write(environment, file, f"[other]\nx = y\n[{section}]\n{KEYS}s3 =\n  a = b\n")
        if profile is not None:
            environment["AWS_PROFILE"] = profile
        found = login_credential(environment, ECR)
        assert found.origin == f"the AWS profile {profile or 'default'!r}"
        assert found.password == aws.password

    @pytest.mark.parametrize(
        "settings",
        [
            "source_profile = base",
            "source_profile = middle",
            f"source_profile = ci\n{KEYS}",
            "credential_source = Environment",
        ],
    )
    def test_a_role_is_taken_on_with_what_the_profile_names(
        self, aws: EmulatedAws, environment: dict[str, str], settings: str
    ) -> None:
        middle = f"[profile middle]\nrole_arn = {ROLE}-middle\nsource_profile = base\n"
        role = f"[profile ci]\nrole_arn = {ROLE}\nexternal_id = e\n{settings}\n"
        self.write(environment, "config", f"{middle}{role}")
        self.write(environment, "credentials", f"[base]\n{KEYS}")
        environment["AWS_PROFILE"] = "ci"
        if "Environment" in settings:
            # With both, the variables win; here only the profile may use them.
            keys = aws.with_keys()
            environment |= {"AWS_ACCESS_KEY_ID": keys["AWS_ACCESS_KEY_ID"]}
            environment |= {"AWS_SECRET_ACCESS_KEY": keys["AWS_SECRET_ACCESS_KEY"]}
            assert login_credential(environment, ECR).origin == "AWS_ACCESS_KEY_ID"
            return
        assert login_credential(environment, ECR).password == aws.password
        assert ("sts", f"AssumeRole {ROLE} ocitool") in aws.operations

    def test_a_role_by_web_identity(self, aws: EmulatedAws, environment: dict[str, str]) -> None:
        path = Path(environment["HOME"]) / "token"
        path.write_text(WEB_TOKEN)
        text = f"[profile ci]\nrole_arn = {ROLE}\nweb_identity_token_file = {path}\n"
        self.write(environment, "config", text)
        environment["AWS_PROFILE"] = "ci"
        assert login_credential(environment, ECR).password == aws.password

    def test_a_program_that_a_profile_names(
        self, aws: EmulatedAws, environment: dict[str, str]
    ) -> None:
        keys = json.dumps({"Version": 1, **aws.new_keys()})
        program = Path(environment["HOME"]) / "give.py"
        program.write_text(f"print({keys!r})")
        command = f"{sys.executable} {program}"
        self.write(environment, "config", f"[default]\ncredential_process = {command}\n")
        assert login_credential(environment, ECR).password == aws.password
        program.write_text("print('canary'); raise SystemExit(1)")
        assert "credential_process" in refusal(environment).message

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ("[default]\nregion = x\n", "there is no AWS profile 'ci'"),
            ("[profile ci]\nregion = x\n", "holds no credentials"),
            ("[profile ci]\nrole_arn = x\n", "no credentials to assume it with"),
            ("[profile ci]\nrole_arn = x\nsource_profile = b\n", "does not exist"),
            (f"[profile ci]\n{LOOP}b\n[profile b]\n{LOOP}ci\n", "back to itself"),
            ("[profile ci]\nrole_arn = x\nmfa_serial = m\n", "one-time password"),
            ("[profile ci]\nsso_session = x\n", "SSO"),
            ("canary = no section\n", "is not a file of AWS profiles"),
        ],
    )
    def test_a_profile_that_leads_nowhere(
        self, environment: dict[str, str], config: str, said: str
    ) -> None:
        self.write(environment, "config", config)
        assert said in refusal({**environment, "AWS_PROFILE": "ci"}).message
