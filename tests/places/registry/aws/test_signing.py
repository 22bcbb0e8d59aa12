"""Signature Version 4, by the examples of AWS' own test suite (aws4_testsuite)."""

import calendar

import pytest

from ocitool.places.registry.aws.signing import AwsKeys, SigningScope, sign

KEYS = AwsKeys(access_key="AKIDEXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SCOPE = SigningScope("service", "us-east-1", calendar.timegm((2015, 8, 30, 12, 36, 0)))


@pytest.mark.parametrize(
    ("headers", "body", "names", "signature"),
    [
        (
            {},
            b"",
            "host;x-amz-date",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            {"Content-Type": "application/x-www-form-urlencoded"},
            b"Param1=value1",
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
)
def test_a_request_is_signed_as_amazon_does(
    headers: dict[str, str], body: bytes, names: str, signature: str
) -> None:
    signed = sign(KEYS, SCOPE, "https://example.amazonaws.com/", headers, body)
    assert signed["x-amz-date"] == "20150830T123600Z"
    assert signed["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def test_no_secret_is_in_the_text_of_credentials() -> None:
    keys = AwsKeys(access_key="A", secret_key="canary-1", session_token="canary-2")
    assert "canary" not in repr(keys)
    assert keys.secrets == ("canary-1", "canary-2")
