"""No secret survives, in whatever text it stands; what is none does."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.status import redaction
from supervisor.status.redaction import redacted

SIGNATURE = "a1b2c3d4" * 8
# Of what a secret consists: never of what stands around it.
SECRETS = st.text(string.ascii_letters + string.digits + "/+", min_size=16, max_size=64)


@pytest.mark.parametrize(
    "text",
    [
        f"cannot open https://bucket.s3.amazonaws.com/x.wav?X-Amz-Algorithm=A&X-Amz-Signature={SIGNATURE}",
        f"HTTPSConnectionPool(host='h', port=443): Max retries exceeded with url: /x?sig={SIGNATURE} (Caused by ...)",
        f"url: /hook?user=me&token={SIGNATURE}",
        f"href='/x?a=1&amp;Signature={SIGNATURE}'",
        f'{{"url": "/x?a=1\\u0026access_token={SIGNATURE}"}}',
        f"next=https%3A%2F%2Fb%2Fx%3FX-Amz-Signature%3D{SIGNATURE}",
        f"x-amz-security-token: {SIGNATURE}",
        f"'X-Amz-Security-Token': '{SIGNATURE}'",
        f"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/2026, Signature={SIGNATURE}",
        f"https://me:{SIGNATURE}@host/x",
        f"ftp://{SIGNATURE}@host/x",
        f"JOB_STATUS_SECRET=whsec_{SIGNATURE}",
        f"aws_secret_access_key = {SIGNATURE}",
        f'"SecretAccessKey": "{SIGNATURE}"',
        f"https://account.blob.core.windows.net/c/x?sv=2024&{SIGNATURE}",
    ],
)
def test_a_secret_is_taken_out(text: str) -> None:
    assert SIGNATURE not in redacted(text)


@pytest.mark.parametrize("key", ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"])
def test_an_access_key_id_is_taken_out(key: str) -> None:
    assert redacted(f"denied for {key}.") == f"denied for {key[:4]}…."


@pytest.mark.parametrize(
    "text",
    [
        "epoch 3: loss=0.25, token=5, signature=v1",
        "s3://bucket/a@b/c?d.wav: no such object",
        "see https://docs.deep-hybrid-datacloud.eu/en/latest/",
        "me@example.org said: a=b",
        "input https://host/x?…: no such object",
        "a b\tc é 語 😀",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


@given(SECRETS, st.text(), st.text())
def test_a_secret_of_this_process_is_taken_out_wherever_it_stands(secret: str, before: str, after: str) -> None:
    known = redaction._any_of({"AWS_SECRET_ACCESS_KEY": secret})
    assert known is not None
    assert secret not in known.sub("…", before + secret + after).replace("…", "")


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "JOB_STATUS_SECRET"])
def test_the_environments_secrets_are_known(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "whsec_c2VjcmV0/K2V5")
    redaction._known.cache_clear()
    try:
        assert redacted("it holds c2VjcmV0/K2V5 and c2VjcmV0%2FK2V5") == "it holds … and …"
    finally:
        monkeypatch.undo()
        redaction._known.cache_clear()


def test_a_secret_that_is_no_utf_8_is_taken_out_like_any_other() -> None:
    known = redaction._any_of({"AWS_SECRET_ACCESS_KEY": "pound \udca3 sign"})
    assert known is not None
    assert known.sub("…", "a pound \udca3 sign, pound%20%A3%20sign") == "a …, …"


def test_an_empty_or_short_value_is_no_secret() -> None:
    assert redaction._any_of({"AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "abc"}) is None


@given(st.text())
def test_any_text_can_be_redacted_again_and_stays_the_same(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)
