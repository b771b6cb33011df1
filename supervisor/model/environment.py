"""The guest's environment: the image's own, without what the model must not see."""

import re
from collections.abc import Mapping

from supervisor.job import VARIABLES

# What boto3, the AWS CLI, older SDKs or s3fs take for a credential, or for the place of one: by the words in the
# name, since every SDK adds its own (AWS_SECRET_KEY, AWSACCESSKEYID, AWS_BEARER_TOKEN_BEDROCK). The guest gets none of
# it. Region, endpoint and Batch's own variables stay.
_CREDENTIAL = re.compile(
    r"(AWS|S3|MINIO)_?.*(ACCESS_?KEY|SECRET|TOKEN|CREDENTIAL|PASSW|PROFILE|ROLE|CONFIG_FILE|CONTAINER|LOGIN)"
    r"|ECS_CONTAINER_METADATA|BOTO_CONFIG|BOTO_PATH|MC_HOST_"
)
_OURS = "SUPERVISOR_"
# The launcher sets aside what would hurt our own Python or loader; the guest gets it back under its own name.
_SET_ASIDE = "SUPERVISOR_CHILD_"


def guest_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The image's own environment for the model: no credential, none of our own variables.

    Ours go as a whole because their values may carry secrets: a presigned URL, a webhook with a token.
    """
    ours = {v.name for v in VARIABLES}
    given_back = {
        name.removeprefix(_SET_ASIDE): value for name, value in environ.items() if name.startswith(_SET_ASIDE)
    }
    return {
        name: value
        for name, value in {**environ, **given_back}.items()
        if name and name not in ours and not name.startswith(_OURS) and not _CREDENTIAL.match(name)
    }
