"""Web addresses that hand out the supervisor's credentials: EC2's metadata, ECS' and EKS' agents. No input is one, for
the model gets what an input holds."""

import socket
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from supervisor import job
from supervisor.storage import Invalid
from supervisor.storage.uri import shown

_Address = IPv4Address | IPv6Address
# Of EC2 .169.254, of ECS .170.2, of EKS Pod Identity .170.23; and the same by IPv6.
_NETWORKS = tuple(map(ip_network, ("169.254.169.0/24", "169.254.170.0/24", "fd00:ec2::/32")))
# Each may name another.
_NAMING = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT")
_PORTS = {"http": 80, "https": 443}


class NoCredentialServices(HTTPAdapter):
    """Asks any server but these; redirects come by here, too."""

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Raises Invalid."""
        if is_credential_service(request.url or "", job.environment()):
            raise Invalid(f"{shown(request.url or '')}: hands out credentials, and is no input")
        return super().send(request, *args, **kwargs)


def is_credential_service(url: str, environ: Mapping[str, str]) -> bool:
    """Whether a web address leads there, by whatever name its host goes; False where that is not known here, as behind
    a proxy."""
    addresses, port = _place(url)
    if any(address in network for address in addresses for network in _NETWORKS):
        return True
    others = (_place(environ[name]) for name in _NAMING if environ.get(name))
    return any(port == other_port and addresses & other for other, other_port in others)


def _place(url: str) -> tuple[frozenset[_Address], int | None]:
    try:
        parts = urlsplit(url)
        return _resolved(parts.hostname or ""), parts.port or _PORTS.get(parts.scheme)
    except (OSError, ValueError):
        return frozenset(), None


@lru_cache(maxsize=1000)
def _resolved(host: str) -> frozenset[_Address]:
    """The resolver takes numbers as well, in all the spellings that connecting takes: 0xa9fea9fe, 2852039166."""
    found = {ip_address(answer[4][0]) for answer in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return frozenset((isinstance(each, IPv6Address) and each.ipv4_mapped) or each for each in found)
