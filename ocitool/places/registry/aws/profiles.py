"""Profiles of AWS' shared files: ~/.aws/config and ~/.aws/credentials, and what they lead to."""

import configparser
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping

from ocitool.errors import AccessDenied
from ocitool.places.registry.aws.client import AwsClient
from ocitool.places.registry.aws.hosts import EcrHost
from ocitool.places.registry.aws.metadata import of_container, of_machine, read_token
from ocitool.places.registry.aws.signing import AwsKeys
from ocitool.places.registry.aws.sts import Role, by_keys, by_web_identity

_SECONDS = 30.0
_DEEPEST = 5
Settings = Mapping[str, str]
Environment = Mapping[str, str]


class Profiles:
    """The profiles of this user. `keys_of_environment` are what a profile may build upon."""

    def __init__(
        self,
        client: AwsClient,
        host: EcrHost,
        keys_of_environment: Callable[[], AwsKeys | None],
    ) -> None:
        self._client = client
        self._host = host
        self._keys_of_environment = keys_of_environment
        self._settings = _read(client.environment)

    def find(self) -> AwsKeys | None:
        """Return the credentials of the profile that is chosen; None when there is no such one.

        AccessDenied when AWS_PROFILE names one that does not exist or leads nowhere.
        """
        environment = self._client.environment
        chosen = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE")
        name = chosen or "default"
        if name not in self._settings:
            if chosen:
                raise AccessDenied(
                    f"there is no AWS profile {name!r}", hint="look at AWS_PROFILE and ~/.aws"
                )
            return None
        found = self._resolve(name, _DEEPEST)
        if found is None and chosen:
            raise AccessDenied(f"the AWS profile {name!r} holds no credentials")
        return found

    def _resolve(self, name: str, left: int) -> AwsKeys | None:
        settings = self._settings.get(name)
        if settings is None or not left:
            raise AccessDenied(f"the AWS profile {name!r} does not exist, or leads back to itself")
        origin = f"the AWS profile {name!r}"
        if "role_arn" in settings:
            return self._by_role(name, settings, origin, left)
        return self._own(settings, origin)

    def _own(self, settings: Settings, origin: str) -> AwsKeys | None:
        """Return credentials that a profile has itself, without a role."""
        access, secret = settings.get("aws_access_key_id"), settings.get("aws_secret_access_key")
        if access and secret:
            token = settings.get("aws_session_token") or None
            return AwsKeys(access_key=access, secret_key=secret, session_token=token, origin=origin)
        if settings.get("credential_process"):
            return _by_process(settings["credential_process"], self._client.environment, origin)
        if "sso_session" in settings or "sso_start_url" in settings:
            raise AccessDenied(
                f"{origin} logs in by SSO, which ocitool does not do",
                hint='eval "$(aws configure export-credentials --format env)" does it',
            )
        return None

    def _by_role(self, name: str, settings: Settings, origin: str, left: int) -> AwsKeys:
        role = Role(
            arn=settings["role_arn"],
            session=settings.get("role_session_name") or "ocitool",
            external_id=settings.get("external_id") or None,
        )
        if settings.get("mfa_serial"):
            raise AccessDenied(
                f"{origin} asks for a one-time password, which ocitool does not do",
                hint="log in with the aws command, or give AWS_ACCESS_KEY_ID and the like",
            )
        path = settings.get("web_identity_token_file")
        if path:
            token = read_token(path)
            return by_web_identity(self._client, self._host, role, token, origin)
        keys = self._beneath(name, settings, left)
        if keys is None:
            raise AccessDenied(f"{origin} names a role, but no credentials to assume it with")
        return by_keys(self._client, self._host, role, keys, origin)

    def _beneath(self, name: str, settings: Settings, left: int) -> AwsKeys | None:
        """Return the credentials with which a profile takes on its role."""
        source = settings.get("source_profile")
        if source == name:
            return self._own(settings, f"the AWS profile {name!r}")
        if source:
            return self._resolve(source, left - 1)
        sources: dict[str, Callable[[], AwsKeys | None]] = {
            "Environment": self._keys_of_environment,
            "EcsContainer": lambda: of_container(self._client),
            "Ec2InstanceMetadata": lambda: of_machine(self._client),
        }
        find = sources.get(settings.get("credential_source", ""))
        return find() if find is not None else None


def _read(environment: Environment) -> dict[str, dict[str, str]]:
    """Return the settings of every profile; the credentials file counts more than the other."""
    home = environment.get("HOME")
    folder = os.path.join(home, ".aws") if home else None
    config = environment.get("AWS_CONFIG_FILE") or (folder and os.path.join(folder, "config"))
    credentials = environment.get("AWS_SHARED_CREDENTIALS_FILE") or (
        folder and os.path.join(folder, "credentials")
    )
    found: dict[str, dict[str, str]] = {}
    for path, prefix in ((config, "profile "), (credentials, "")):
        for section, settings in _sections(path).items():
            if prefix and section != "default" and not section.startswith(prefix):
                continue
            name = section.removeprefix(prefix).strip().strip("\"'")
            found.setdefault(name, {}).update(settings)
    return found


def _sections(path: str | None) -> dict[str, dict[str, str]]:
    if not path:
        return {}
    parser = configparser.RawConfigParser(default_section="", strict=False, allow_no_value=True)
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AccessDenied(f"{path} cannot be read: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError):
        # The parser's own words would quote the line, which may hold a secret.
        raise AccessDenied(f"{path} is not a file of AWS profiles") from None
    return {
        name: {key: str(value or "") for key, value in parser.items(name)}
        for name in parser.sections()
    }


def _by_process(command: str, environment: Environment, origin: str) -> AwsKeys:
    """Run the program that a profile names for its credentials; nothing it says is shown."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the words are from the user's own file
            shlex.split(command),
            capture_output=True,
            timeout=_SECONDS,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            check=True,
        )
        value = json.loads(done.stdout)
        return AwsKeys(
            access_key=str(value["AccessKeyId"]),
            secret_key=str(value["SecretAccessKey"]),
            session_token=str(value["SessionToken"]) if value.get("SessionToken") else None,
            origin=origin,
        )
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError, RecursionError):
        raise AccessDenied(
            f"the credential_process of {origin} gave no credentials", hint="run it by hand"
        ) from None
