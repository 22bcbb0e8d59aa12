"""What the name of one of Amazon's registries says: account, region, partition."""

import re
from collections.abc import Mapping
from typing import Self

from msgspec import Struct

from ocitool.places.registry.hosts import ECR_PUBLIC, host_name

_PRIVATE = re.compile(
    r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9][a-z0-9-]*)\."
    r"(?P<suffix>amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|on\.aws"
    r"|on\.amazonwebservices\.com\.cn|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk"
    r"|csp\.hci\.ic\.gov)"
)
_PUBLIC_REGION = "us-east-1"
_USUAL = "amazonaws.com"
# Hosts that also answer over IPv6 have another suffix than the interfaces of their partition.
_DUAL_STACK = {
    "on.aws": ("api.aws", _USUAL),
    "on.amazonwebservices.com.cn": ("api.amazonwebservices.com.cn", "amazonaws.com.cn"),
}


class EcrHost(Struct, frozen=True, kw_only=True):
    """One of Amazon's registries; `account` is None for the public one.

    `suffix` is how the names of the partition end, such as `amazonaws.com.cn`.
    """

    region: str
    suffix: str = _USUAL
    account: str | None = None
    is_fips: bool = False

    @classmethod
    def parse(cls, domain: str) -> Self | None:
        """Return what a registry's host says, or None when it is not one of Amazon's."""
        name = host_name(domain)
        if name == ECR_PUBLIC:
            return cls(region=_PUBLIC_REGION)
        found = _PRIVATE.fullmatch(name)
        if found is None:
            return None
        return cls(
            region=found["region"],
            suffix=found["suffix"],
            account=found["account"],
            is_fips=found["fips"] is not None,
        )

    @property
    def is_public(self) -> bool:
        """Tell whether this is the public registry."""
        return self.account is None

    @property
    def service(self) -> str:
        """The name of the interface, as signatures have it."""
        return "ecr-public" if self.is_public else "ecr"

    def api(self, environment: Mapping[str, str]) -> str:
        """Return the URL of the interface that hands out tokens and makes repositories."""
        fips = "-fips" if self.is_fips else ""
        if self.suffix in _DUAL_STACK:
            usual = f"https://ecr{fips}.{self.region}.{_DUAL_STACK[self.suffix][0]}"
        elif self.is_fips:
            usual = f"https://ecr-fips.{self.region}.{self.suffix}"
        else:
            usual = f"https://api.{self.service}.{self.region}.{self.suffix}"
        return endpoint(environment, self.service, usual)

    def sts(self, environment: Mapping[str, str]) -> str:
        """Return the URL of the interface that hands out credentials for roles."""
        suffix = _DUAL_STACK.get(self.suffix, ("", self.suffix))[1]
        fips = "-fips" if self.is_fips else ""
        return endpoint(environment, "sts", f"https://sts{fips}.{self.region}.{suffix}")


def endpoint(environment: Mapping[str, str], service: str, usual: str) -> str:
    """Return the URL of a service: what AWS_ENDPOINT_URL_SERVICE or AWS_ENDPOINT_URL says."""
    own = f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"
    return environment.get(own) or environment.get("AWS_ENDPOINT_URL") or usual
