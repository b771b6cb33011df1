"""What of the image's environment the guest gets."""

import pytest

from supervisor.model.environment import guest_environment


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
     "AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_EXECUTION_ENV", "DEEPAAS_V2_MODEL", "RCLONE_CONFIG",
     "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "JOB_NAME", "HTTPS_PROXY", "TOKENIZERS_PARALLELISM"],
)  # fmt: skip
def test_the_images_own_environment_reaches_the_guest(name: str) -> None:
    assert guest_environment({name: "x"}) == {name: "x"}


def test_what_the_launcher_set_aside_is_given_back() -> None:
    environ = {"LD_LIBRARY_PATH": "/supervisor/lib", "SUPERVISOR_CHILD_LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}
    assert guest_environment(environ) == {"LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}
