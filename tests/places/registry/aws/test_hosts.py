"""What the host of an Amazon registry says, and which interfaces serve it."""

import pytest

from ocitool.places.registry.aws.hosts import EcrHost

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("domain", "api", "sts"),
    [
        (
            f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com",
            "https://api.ecr.eu-central-1.amazonaws.com",
            "https://sts.eu-central-1.amazonaws.com",
        ),
        (
            f"{ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            "https://ecr-fips.us-gov-west-1.amazonaws.com",
            "https://sts-fips.us-gov-west-1.amazonaws.com",
        ),
        (
            f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "https://api.ecr.cn-north-1.amazonaws.com.cn",
            "https://sts.cn-north-1.amazonaws.com.cn",
        ),
        (
            f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws",
            "https://ecr.eu-west-1.api.aws",
            "https://sts.eu-west-1.amazonaws.com",
        ),
        (
            f"{ACCOUNT}.dkr-ecr-fips.us-east-1.on.aws",
            "https://ecr-fips.us-east-1.api.aws",
            "https://sts-fips.us-east-1.amazonaws.com",
        ),
        (
            f"{ACCOUNT}.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
            "https://ecr.cn-north-1.api.amazonwebservices.com.cn",
            "https://sts.cn-north-1.amazonaws.com.cn",
        ),
        (
            f"{ACCOUNT}.dkr.ecr.us-iso-east-1.c2s.ic.gov",
            "https://api.ecr.us-iso-east-1.c2s.ic.gov",
            "https://sts.us-iso-east-1.c2s.ic.gov",
        ),
        (
            "public.ecr.aws",
            "https://api.ecr-public.us-east-1.amazonaws.com",
            "https://sts.us-east-1.amazonaws.com",
        ),
    ],
)
def test_the_interfaces_of_a_host(domain: str, api: str, sts: str) -> None:
    host = EcrHost.parse(domain)
    assert host is not None
    assert (host.api({}), host.sts({})) == (api, sts)
    assert (host.account or ACCOUNT) == ACCOUNT
    assert host.is_public == (domain == "public.ecr.aws")


@pytest.mark.parametrize(
    "domain",
    [
        "ghcr.io",
        "localhost:5000",
        f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com.evil.example",
        f"evil.example.{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com",
        "1234.dkr.ecr.eu-central-1.amazonaws.com",
        f"{ACCOUNT}.dkr.ecr.x.evil.example.amazonaws.com",
    ],
)
def test_no_other_host_is_one(domain: str) -> None:
    assert EcrHost.parse(domain) is None


def test_variables_name_other_interfaces() -> None:
    host = EcrHost.parse(f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com")
    public = EcrHost.parse("public.ecr.aws")
    assert host is not None
    assert public is not None
    general = {"AWS_ENDPOINT_URL": "http://one"}
    own = {
        **general,
        "AWS_ENDPOINT_URL_ECR": "http://two",
        "AWS_ENDPOINT_URL_ECR_PUBLIC": "http://3",
    }
    assert (host.api(general), host.sts(general)) == ("http://one", "http://one")
    assert (host.api(own), public.api(own)) == ("http://two", "http://3")
