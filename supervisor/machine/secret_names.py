"""Which variables of an environment hold a secret or lead to one, by the usual words in their names, in any case."""

import re

# What boto3, the AWS CLI or older SDKs take for a credential, or for the place of one; each SDK adds its own
# (AWS_SECRET_KEY, AWSACCESSKEYID, AWS_BEARER_TOKEN_BEDROCK). Region, endpoint and Batch's own variables are none.
_AWS = re.compile(
    r"AWS_?.*(ACCESS_?KEY|SECRET|TOKEN|CREDENTIAL|PASSW|PROFILE|ROLE|CONFIG_FILE|CONTAINER|LOGIN)"
    r"|ECS_CONTAINER_METADATA|ECS_AGENT_URI|BOTO_CONFIG|BOTO_PATH",
    re.IGNORECASE,
)
# Asked of the name's words, in capitals and each between underscores: _PGPASSWORD_, _HF_TOKEN_.
_SECRET = re.compile(
    r"""
    # parts of words: names run them together (PGPASSWORD, CLIENTSECRET, APIKEY), but neither TOKENIZERS nor SECRETARY
      PASSWORD(?!LESS) | PASSWD | PASSWRD | PASSPHRASE | PASSCODE | PASSFILE | CREDENTIAL
    | SECRETS?(?:KEY|ID|FILE|VALUE)?[0-9]*_ | TOKENS?(?:FILE)?[0-9]*_
    | (?:ACCESS|ACCOUNT|API|APPLICATION|AUTH|ENCRYPTION|MASTER|PRIVATE|SECRET|SHARED|SIGNING|SSH|SSL|TLS)_?KEYS?[0-9]*_
    | (?:ADMIN|DB|FTP|KEY|LDAP|MYSQL|PG|REDIS|ROOT|SMTP|SQL|SSH|STORE|USER)PASS_ | (?:DB|MYSQL|SQL|USER)PWD_
    # whole words
    | _(?:CREDS?|AUTHORIZATION|BEARER|COOKIES?|JWT|NETRC|OTP|TOTP|PSWD|PWORD|KEYFILES?|KEYTABS?)_
    | _CONN(?:ECTION)?_?STR(?:ING)?_ | _(?:PRE)?SIGNED_UR[IL]S?_ | _SERVICE_ACCOUNT_(?:FILE|JSON)_
    | _(?:PASS[0-9]*|PW|PAT|AUTH|OAUTH2?|SAS|SAS_UR[IL]|WEBHOOK|WEBHOOK_UR[IL])_$ | (?<!^)_PWD_|^_PWD_(?!$)
    | _(?:PASS|PW)_(?:FILE|PATH)_$
    | (?<!_PUBLIC)(?<!_SORT)(?<!_PRIMARY)(?<!_FOREIGN)(?<!_PARTITION)(?<!_CACHE)(?<!_OBJECT)
      _KEYS?_(?:(?:B64|BASE64|DATA|FILE|ID|JSON|PATH|PEM)_)?$
    # names that lead to an agent, a ticket or a file of credentials
    | ^_(?:KUBECONFIG|DOCKER_CONFIG|DOCKER_AUTH_CONFIG|SSH_AUTH_SOCK|OIDC_SOCK|KRB5CCNAME|KRB5_KTNAME
         |PGSERVICEFILE|X509_USER_PROXY|XAUTHORITY|IDENTITY_HEADER)_$
    | ^_(?:(?:AWS|MINIO|S_?3)_?.*(?:ACCESS_?KEY|PROFILE|ROLE|CONFIG_FILE|CONTAINER|LOGIN)|MC_HOST_)
    """,
    re.VERBOSE,
)
# A name may also speak of secrets, and its value say how many, how long or whether: MAX_TOKENS=512 is none.
_MEASURE = re.compile(
    r"_(?:ALLOW|COUNT|DAYS|DISABLED?|ENABLED?|EXPIRY|HAS|IS|LEN|LENGTH|LIMIT|MAX|MIN|NO|NUM|REQUIRED?|SECONDS|SIZE|SKIP"
    r"|TIMEOUT|TOTAL|TTL|USE|VERIFY)_"
)
_NUMBER_OR_SWITCH = re.compile(r"[0-9]{0,9}(\.[0-9]+)?|true|false|yes|no|on|off", re.IGNORECASE)
_WORDS = re.compile(r"[A-Za-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# The user part of an address: up to the last @ before its path; and behind a colon that begins no port up to any @, for
# some programs take a password as it is, slashes and all.
_USER_PART = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/?#'\"]*|[^\s/?#:@'\"]*:(?![0-9]{1,5}(?:[/?#,;]|$))[^\s'\"<>]*)@"
)
# Proxies and DSNs are also written without a scheme.
_BARE_USER_PART = re.compile(r"\A[^\s:/@]+:\S*@")
_ADDRESS = re.compile(r"PROXY_|_(?:DSN|UR[IL]S?)_")


def is_aws_credential(name: str) -> bool:
    """Whether it is AWS's: what nobody hands to a model."""
    return _AWS.match(name) is not None


def is_secret(name: str, value: str) -> bool:
    """Whether a variable is a secret by its name, or says where one lies."""
    words = _in_words(name)
    if not _SECRET.search(words):
        return is_aws_credential(name)
    return not (_MEASURE.search(words) and _NUMBER_OR_SWITCH.fullmatch(value.strip()))


def without_user_part(name: str, value: str) -> str:
    """The value, and any address in it without the user part, which holds a name and a password."""
    if "@" not in value:
        return value
    value = _USER_PART.sub(r"\1", value)
    return _BARE_USER_PART.sub("", value) if _ADDRESS.search(_in_words(name)) else value


def _in_words(name: str) -> str:
    """`hfToken` and `HF-TOKEN` as `_HF_TOKEN_`."""
    return f"_{'_'.join(_WORDS.findall(_CAMEL.sub('_', name)))}_".upper()
