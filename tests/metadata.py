"""A stand-in for EC2's instance metadata service, version 2."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TIME = "2026-01-02T03:04:05Z"
NOTICE = json.dumps({"action": "terminate", "time": TIME}).encode()


class Metadata:
    """An IMDSv2. `answer` is what instance-action says; requests without the present token get 401."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (404, b"")
        self.token = "first"
        self.gives_tokens = True
        self.asked: list[str] = []
        self.has_asked = threading.Condition()
        metadata = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                known = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
                self.reply(200 if known and metadata.gives_tokens else 403, metadata.token.encode())

            def do_GET(self) -> None:
                if self.headers["X-aws-ec2-metadata-token"] != metadata.token:
                    self.reply(401, b"")
                elif self.path == "/latest/meta-data/spot/instance-action":
                    self.reply(*metadata.answer)
                else:
                    self.reply(200, NOTICE)  # nothing else may be taken for a notice

            def reply(self, status: int, body: bytes) -> None:
                self.send_response_only(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                with metadata.has_asked:
                    metadata.asked.append(f"{self.command} {self.path} {status}")
                    metadata.has_asked.notify_all()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def wait_for(self, true: Callable[[list[str]], bool]) -> None:
        with self.has_asked:
            assert self.has_asked.wait_for(lambda: true(self.asked), 30), self.asked

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
