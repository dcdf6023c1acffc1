"""Secrets in URLs and options: refused where Git would keep them, hidden where they are printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tissue.common.errors import InputError
from tissue.common.filesystems import connect
from tissue.common.secrets import HIDDEN, has_secret, redact, secret_options
from tissue.config.command import command

SECRET = st.text("abcdefghijklmnopqrstuvwxyz0123456789%+/_.-", min_size=12, max_size=30).map(
    lambda text: f"S3CR3T{text}"
)
NAMES = [
    "sig", "Signature", "X-Amz-Signature", "X-Amz-Credential", "x-goog-signature", "GoogleAccessId",
    "AWSAccessKeyId", "Key-Pair-Id", "Policy", "api_key", "apikey", "key", "password", "pass",
    "private_token", "access_token", "auth", "jwt", "client_secret", "sessionid",
]  # fmt: skip
PLAIN = [
    "https://example.org/images.zip?version=3&author=me#top",
    "ssh://me@host/images",
    "simplecache::ssh://me@host/images.zip",
    "s3://bucket/key/monkey.zip",
    "gdrive:1a2B3c",
    "/data/pass/token.zip",
    "https://example.org/a@b.zip",
]


@given(
    name=st.sampled_from(NAMES), secret=SECRET.filter(lambda text: "/" not in text),
    before=st.sampled_from(["?", "?a=1&", "#", "?a=1#", "?a=1;"]),
    after=st.sampled_from(["", "&b=2", "#end"]),
)  # fmt: skip
def test_a_secret_in_a_query_or_fragment(name: str, secret: str, before: str, after: str) -> None:
    url = f"https://host/images.zip{before}{name}={secret}{after}"
    assert has_secret(url)
    for text in (url, f"GET {url} failed", f"'{url}'", f"Max retries: {url} (Caused by x)"):
        assert secret not in redact(text)
        assert "host/images.zip" in redact(text)


@given(
    scheme=st.sampled_from(["https", "http", "s3", "ssh", "simplecache::ssh", "zip::https", "ftp"]),
    user=st.text("abc_", max_size=5), secret=SECRET.filter(lambda text: "/" not in text),
)  # fmt: skip
def test_a_password_in_an_address(scheme: str, user: str, secret: str) -> None:
    url = f"{scheme}://{user}:{secret}@host/images.zip"
    assert has_secret(url)
    assert secret not in redact(f"{url}: expected to read it")
    assert redact(url) == f"{scheme}://{HIDDEN}@host/images.zip"


def test_a_token_in_place_of_a_user() -> None:
    assert redact("https://ghp_1234@host/x") == f"https://{HIDDEN}@host/x"


@pytest.mark.parametrize("url", PLAIN)
def test_what_is_no_secret_stays(url: str) -> None:
    assert redact(url) == url


@given(st.text())
def test_any_text(text: str) -> None:
    assert redact(redact(text)) == redact(text)
    assert has_secret(text) == (redact(text) != text)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"anon": True, "requester_pays": False}, []),
        ({"client_kwargs": {"endpoint_url": "https://me:pw@host"}}, ["endpoint_url"]),
        ({"client_kwargs": {"proxies": {"https": "http://me:pw@proxy"}}}, ["https"]),
        ({"client": [{"aws_secret_access_key": "x"}]}, ["aws_secret_access_key"]),
        ({"headers": {"Cookie": "a=b"}}, ["Cookie"]),
        ({"account_key": "x", "sas": "y", "pwd": "z"}, ["account_key", "sas", "pwd"]),
        ({"mirrors": ["https://host/?sig=x"]}, [f"https://host/?sig={HIDDEN}"]),
    ],
)
def test_options(options: dict, found: list[str]) -> None:
    assert list(secret_options(options)) == found


@pytest.mark.parametrize("text", ["?a=", "?sig=", "a= ", "x", "-", "a:", "%41"])
def test_a_long_text_takes_no_long_time(text: str) -> None:
    """Minutes, where a pattern is searched from each letter to the end."""
    assert redact(text * 20_000)


def test_messages_of_commands_hide_secrets() -> None:
    with pytest.raises(SystemExit) as caught, command("fetch"):
        raise InputError("https://host/a.zip?X-Amz-Signature=abc: expected it. Received: 403")
    assert caught.value.code == (
        f"fetch: https://host/a.zip?X-Amz-Signature={HIDDEN}: expected it. Received: 403"
    )


def test_a_chain_is_held_to_the_known_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them, sshfs trusts whatever host answers."""
    given: dict = {}

    def url_to_fs(url: str, **options: object) -> None:
        given[url] = options

    monkeypatch.setattr("tissue.common.filesystems.url_to_fs", url_to_fs)
    connect("simplecache::ssh://host/a", {"ssh": {"port": 2222}, "expiry_time": 60})
    connect("ssh://host/a", {"port": 2222})
    assert given == {
        "simplecache::ssh://host/a": {"ssh": {"known_hosts": (), "port": 2222}, "expiry_time": 60},
        "ssh://host/a": {"known_hosts": (), "port": 2222},
    }


@pytest.mark.parametrize(
    "text",
    [
        "https://me:pa/S3CR3T@host/x.zip", "https://me:pa?S3CR3T@host/x.zip",
        "https://me:pa#S3CR3T@host/x", "https:/me:S3CR3T@host/x", "https:\\\\me:S3CR3T@host\\x",
        "//me:S3CR3T@host/x", "me:S3CR3T@host:/data", "https:me:S3CR3T@host",
        "git+https://S3CR3T@host/x", "wss://S3CR3T@host",
        "https://host/x?%73ig=S3CR3T", "https://host/x?to%6ben=S3CR3T",
        "https://host/go?to=https%3A%2F%2Fme%3AS3CR3T%40host",
        "https://host/go?to=https%253A%252F%252Fme%253AS3CR3T%2540host",
        "https://host/x?rlkey=S3CR3T", "https://host/x?pw=S3CR3T", "https://host/?PHPSESSID=S3CR3T",
        "https://host/x?hdnts=exp=1~hmac=S3CR3T", "https://host/x?sig = S3CR3T",
        "https://host/x?token='S3CR3T'", "https://host/x?access token=S3CR3T",
        "Authorization: Bearer S3CR3T", "X-Auth-Token: S3CR3T", "{'Authorization': 'Basic S3CR3T'}",
        "{'password': 'S3CR3T'}", '{"x-api-key": "S3CR3T"}', "{'password': b'S3CR3T'}",
        "403, message='Forbidden', url='https://host/x?sig=S3CR3T&a=b'",
        "url=https://host?sig=S3CR3T",
        "https://host/x?a:b?token:S3CR3T", "https://host/x?token:S3CR3T",
        "ftp://S3CR3Tabcdefghijklmnop@host/x",
        "hf://S3CR3Tabcdefghijklmnop@datasets/x",
        "password=S3CR3T", "AccountName=a;AccountKey=S3CR3T", "--password=S3CR3T",
        "AKIAS3CR3TS3CR3TEXAM", "glpat-S3CR3TS3CR3TS3CR3T00", "-----BEGIN PRIVATE KEY-----\nS3CR3T",
    ],
)  # fmt: skip
def test_a_secret_anywhere_else(text: str) -> None:
    """Where people and libraries put them: by mistake, encoded, in headers and options."""
    assert has_secret(text)
    assert "S3CR3T" not in redact(f"expected to read it. Received: {text}")


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8080/a@b.zip", "http://[::1]:8080/a@b.zip", "s3://bucket: expected it",
        "'http://host:80', 'x'", "expected parameters, each once, as key=value,value", "C:/a:b@c",
        "ftp://anonymous@host/x.zip", "hf://datasets/me/images@main/x.zip",
        "ssh://svc-pathology-images-01@host/x", "https://host/x?at=10:30", "unexpected token: x",
        "seed: 17", "me@example.org", "git@host:repository", "https://host/100%25.zip?a=b%20c",
        "fetch.labels: expected keys and values. Received: {'image': 'id'}",
    ],
)  # fmt: skip
def test_messages_without_a_secret_stay(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"headers": [["Authorization", "Bearer abc"]]}, ["Authorization"]),
        ({"headers": {"X-H": "Bearer abcdefgh"}}, ["X-H"]),
        ({"mirrors": ("https://me:pw@host",)}, [f"https://{HIDDEN}@host"]),
        ({"text": b"password=abc"}, ["text"]),
        ({"https://me:pw@host": 1}, [f"https://{HIDDEN}@host"]),
    ],
)
def test_options_in_other_forms(options: dict, found: list[str]) -> None:
    assert list(secret_options(options)) == found
