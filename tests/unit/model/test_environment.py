"""What of the image's environment the guest gets."""

import pytest

from supervisor.model.environment import guest_environment, image_environment, withheld


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",
        "AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_CREDENTIAL_EXPIRATION", "AWS_CREDENTIAL_FILE",
        "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_BEARER_TOKEN_BEDROCK", "AWS_LOGIN_CACHE_DIRECTORY",
        "AWSACCESSKEYID", "AWSSECRETACCESSKEY", "AWSSESSIONTOKEN", "BOTO_CONFIG", "S3_ACCESS_KEY_ID",
        "S3_SECRET_ACCESS_KEY", "MINIO_SECRET_KEY", "MC_HOST_play", "ECS_CONTAINER_METADATA_URI_V4",
        "JOB_INPUT", "JOB_EVENT", "JOB_STATUS_URL", "JOB_STATUS_SECRET", "SUPERVISOR_IMAGE",
    ],
)  # fmt: skip
def test_no_credential_and_nothing_of_ours_reaches_the_guest(name: str) -> None:
    environ = {name: "hunter2", "SUPERVISOR_CHILD_" + name: "hunter2"}
    assert "hunter2" not in guest_environment(environ).values()


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "LD_LIBRARY_PATH", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE",
     "AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_EXECUTION_ENV", "DEEPAAS_V2_MODEL",
     "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "JOB_NAME", "HTTPS_PROXY", "TOKENIZERS_PARALLELISM"],
)  # fmt: skip
def test_the_images_own_environment_reaches_the_guest(name: str) -> None:
    assert guest_environment({name: "x"}) == {name: "x"}


def test_what_the_launcher_set_aside_is_given_back() -> None:
    environ = {"LD_LIBRARY_PATH": "/supervisor/lib", "SUPERVISOR_CHILD_LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}
    assert guest_environment(environ) == {"LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "hf_token", "hfToken", "TOKEN", "NPM_TOKEN", "NPM_CONFIG__AUTH", "CI_JOB_JWT", "HTTP_AUTHORIZATION",
     "PGPASSWORD", "PGPASSFILE", "MYSQL_PWD", "SSHPASS", "DB_PASSWORD", "db.password", "DB_PASSWD", "DBPASS",
     "GPG_PASSPHRASE", "RCLONE_CONFIG_PASS", "RCLONE_CONFIG_RSHARE_PASS", "RCLONE_CONFIG_X_PASSWORD2",
     "RCLONE_CONFIG_X_CLIENT_SECRET", "RCLONE_CONFIG_X_SECRET_ACCESS_KEY", "aws_secret_access_key",
     "Aws_Session_Token", "OPENAI_API_KEY", "OPENAI_KEY", "APIKEY", "apiKey", "SSH_PRIVATE_KEY", "CLIENTSECRET",
     "DJANGO_SECRET_KEY", "JWT_SECRET", "MY_CREDS", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_KEY",
     "AZURE_STORAGE_CONNECTION_STRING", "SSH_AUTH_SOCK", "KUBECONFIG", "NETRC", "X509_USER_PROXY", "OIDC_SOCK",
     "DOCKER_AUTH_CONFIG", "REDIS_AUTH", "SESSION_COOKIE", "SLACK_WEBHOOK_URL", "RESTIC_PASSWORD_FILE",
     "GITHUB_PAT", "HF_TOKEN2", "APIKEY2", "SECRET1", "USER_PW", "PWD_DB", "DB_PWORD", "SHAREDKEY", "TLSKEY", "KEYPASS",
     "STOREPASS", "GCLOUD_KEYFILE_JSON", "KEYTAB", "RCLONE_CONFIG_X_SERVICE_ACCOUNT_FILE",
     "PRESIGNED_URL", "OAUTH2", "OTP"],
)  # fmt: skip
def test_no_variable_that_names_a_secret_reaches_the_guest(name: str) -> None:
    assert guest_environment({name: "hunter2", "PATH": "/bin"}) == {"PATH": "/bin"}
    assert withheld({name: "hunter2", "PATH": "/bin"}) == (name,)


@pytest.mark.parametrize(
    "name",
    ["TOKENIZERS_PARALLELISM", "TOKENIZER_PATH", "KEYBOARD_LAYOUT", "PASSTHROUGH", "SECRETARY", "MONKEY", "COMPASS",
     "BYPASS", "PASS_RATE", "AUTHOR", "PWD", "OLDPWD", "PUBLIC_KEY", "SORT_KEY", "KEYWORDS", "S3_BUCKET",
     "RCLONE_CONFIG_RSHARE_USER", "HF_HOME", "NPM_CONFIG_REGISTRY", "OAUTH_CALLBACK", "PASSENGERS",
     "PATTERN", "FILE_PATH", "HTTP_AUTHOR", "POWER", "SIGNED_DISTANCE", "DESIGNED_URL", "KEYFRAMES", "OPTIONS"],
)  # fmt: skip
def test_what_only_looks_like_a_secret_reaches_the_guest(name: str) -> None:
    assert guest_environment({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    ("name", "value"), [("MAX_TOKENS", "512"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"), ("USE_AUTH", "true")]
)
def test_how_many_tokens_or_whether_is_no_secret(name: str, value: str) -> None:
    assert guest_environment({name: value}) == {name: value}
    assert guest_environment({name: "hf_hunter2"}) == {}


@pytest.mark.parametrize(
    ("name", "value", "without"),
    [
        ("http_proxy", "http://user:pass@proxy:3128", "http://proxy:3128"),
        ("HTTPS_PROXY", "user:p@ss@proxy:3128", "proxy:3128"),
        ("DATABASE_URL", "postgres://user:pa/s@s@host/db", "postgres://host/db"),
        ("REDIS", "redis://:pass@host:6379/0", "redis://host:6379/0"),
        ("PIP_EXTRA_INDEX_URL", "https://token@a/simple https://u:p@b/simple", "https://a/simple https://b/simple"),
        ("CONFIG", '{"broker": "amqp://u:p@mq"}', '{"broker": "amqp://mq"}'),
        ("PACKAGE", "https://host:8443/@scope/x@1.2", "https://host:8443/@scope/x@1.2"),
        ("REPOSITORY", "git@host.example:a/b", "git@host.example:a/b"),
        ("IMAGE", "python:3.11@sha256:0123", "python:3.11@sha256:0123"),
        ("EMAIL", "me@host.example", "me@host.example"),
    ],
)
def test_addresses_reach_the_guest_without_their_user_part(name: str, value: str, without: str) -> None:
    assert guest_environment({name: value}) == {name: without}
    assert withheld({name: value}) == ((name,) if value != without else ())


def test_what_is_granted_reaches_the_guest_whole() -> None:
    environ = {"HF_TOKEN": "hunter2", "NPM_TOKEN": "hunter3", "http_proxy": "http://u:p@proxy:3128"}
    granted = ("HF_TOKEN", "http_proxy", "NOT_THERE")
    assert guest_environment(environ, granted) == {"HF_TOKEN": "hunter2", "http_proxy": "http://u:p@proxy:3128"}
    assert withheld(environ, granted) == ("NPM_TOKEN",)


def test_what_is_granted_is_never_a_credential_of_awss_nor_ours() -> None:
    environ = {"AWS_SECRET_ACCESS_KEY": "x", "aws_session_token": "x", "JOB_STATUS_SECRET": "x", "SUPERVISOR_X": "x"}
    assert guest_environment(environ, tuple(environ)) == {}


def test_what_the_image_itself_sets_is_public() -> None:
    image = ["PATH=/bin", "MODEL_TOKEN=public", "BROKER=amqp://guest:guest@mq", "AWS_SECRET_ACCESS_KEY=x", "EMPTY="]
    environ = {
        **dict(variable.split("=", 1) for variable in image),
        "SUPERVISOR_IMAGE_ENV": image_environment(image),
        "HF_TOKEN": "hunter2",
    }
    assert guest_environment(environ) == {
        "PATH": "/bin", "MODEL_TOKEN": "public", "BROKER": "amqp://guest:guest@mq", "EMPTY": ""
    }  # fmt: skip


def test_what_a_job_definition_puts_in_its_place_is_not() -> None:
    environ = {"MODEL_TOKEN": "hunter2", "SUPERVISOR_IMAGE_ENV": image_environment(["MODEL_TOKEN=public"])}
    assert guest_environment(environ) == {}


def test_the_build_records_names_and_no_values() -> None:
    recorded = image_environment(["MODEL_TOKEN=public-value", "GREETING=a b=c", "odd name=x", "=x"])
    assert [pair.partition("=")[0] for pair in recorded.split()] == ["MODEL_TOKEN", "GREETING"]
    assert "public-value" not in recorded
