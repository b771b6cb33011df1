"""The services that hand out a role's credentials, on loopback, and their trouble: ECS's endpoint, EC2's, STS, SSO."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

KEYS = {"AccessKeyId": "ASIAFORTESTS", "SecretAccessKey": "secret-of-a-role", "Token": "token-of-a-role"}
HANGS = 0  # a status: no answer at all, until the client gives up


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: str = ""


def in_seconds(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def of_a_container(seconds: float = 3600) -> Answer:
    return Answer(body=json.dumps({**KEYS, "Expiration": in_seconds(seconds)}))


def of_sts(seconds: float = 3600) -> Answer:
    fields = {**KEYS, "SessionToken": KEYS["Token"], "Expiration": in_seconds(seconds)}
    told = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    result = f"<AssumeRoleWithWebIdentityResult><Credentials>{told}</Credentials></AssumeRoleWithWebIdentityResult>"
    return Answer(body=f"<AssumeRoleWithWebIdentityResponse>{result}</AssumeRoleWithWebIdentityResponse>")


def refused_by_sts(status: int, code: str) -> Answer:
    return Answer(
        status=status, body=f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
    )


def of_sso(seconds: float = 3600) -> Answer:
    names = {"accessKeyId": "AccessKeyId", "secretAccessKey": "SecretAccessKey", "sessionToken": "Token"}
    keys = {name: KEYS[theirs] for name, theirs in names.items()}
    return Answer(body=json.dumps({"roleCredentials": {**keys, "expiration": int((time.time() + seconds) * 1000)}}))


class Service:
    """A context manager; `endpoint` is its address, `answer` may be exchanged while it runs: it is given the path."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                service.asked.append(self.path)
                answer = service.answer(self.path)
                if answer.status == HANGS:
                    self.connection.recv(1)
                    self.close_connection = True
                    return
                self.send_response_only(answer.status)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body.encode())

            do_GET = do_PUT = do_POST = handle_any

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Service":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def of_an_instance(keys: Answer) -> Callable[[str], Answer]:
    """EC2's metadata service, whose last answer is given."""

    def answer(path: str) -> Answer:
        match path.removeprefix("/latest/"):
            case "api/token":
                return Answer(body="a-token")
            case "meta-data/iam/security-credentials/":
                return Answer(body="a-role")
            case "meta-data/iam/security-credentials/a-role":
                return keys
            case _:
                return Answer(status=404)

    return answer
