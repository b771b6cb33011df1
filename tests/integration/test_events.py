"""Events as they arrive, through to results: keys decoded, versions kept, one record's trouble its own."""

import json
from urllib.parse import quote_plus

from tests.conftest import S3Server, Supervisor
from tests.integration.gate import Gate, Refusal, Request


def notification(bucket: str, *keys: str, version: str | None = None) -> dict[str, object]:
    return {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": bucket},
                    "object": {"key": quote_plus(key)} | ({"versionId": version} if version else {}),
                },
            }
            for key in keys
        ]
    }


def through_sns_and_sqs(event: object) -> str:
    message = {"Type": "Notification", "Message": json.dumps(event)}
    return json.dumps({"Records": [{"eventSource": "aws:sqs", "body": json.dumps(message)}]})


def test_a_notification_through_sns_and_sqs_finds_its_objects(plain: Supervisor, s3: S3Server) -> None:
    keys = ["in/a b+c%2B.wav", "in/ü🎙.wav"]
    for key in keys:
        s3.put(key)
    event = through_sns_and_sqs(notification(s3.bucket, *keys, "in/"))
    out = f"s3://{s3.bucket}/out/"
    ended = plain("run", JOB_EVENT=event, JOB_OUTPUT=out, JOB_INPUT_ROOT=f"s3://{s3.bucket}/", AWS_BATCH_JOB_ID="1",
                  **s3.variables)  # fmt: skip
    assert ended.code == 0, ended.stderr
    assert ended.status["counts"] == {"total": 2, "done": 2, "skipped": 0, "failed": 0, "pending": 0, "placeholders": 1}
    assert s3.keys() == [
        *keys,
        "out/_status/1.items.jsonl",
        "out/_status/1.json",
        *(f"out/{key}.json" for key in keys),
    ]
    assert s3.json(f"out/{keys[0]}.json")["name"] == "a b+c%2B.wav"


def test_an_events_version_is_read_whatever_came_after(plain: Supervisor, seaweedfs: S3Server) -> None:
    seaweedfs.client.put_bucket_versioning(Bucket=seaweedfs.bucket, VersioningConfiguration={"Status": "Enabled"})
    first = seaweedfs.client.put_object(Bucket=seaweedfs.bucket, Key="a.wav", Body=b"first")["VersionId"]
    seaweedfs.put("a.wav", b"and second")
    event = json.dumps(notification(seaweedfs.bucket, "a.wav", version=first))
    ended = plain("run", JOB_EVENT=event, JOB_OUTPUT=f"s3://{seaweedfs.bucket}/out/", **seaweedfs.variables)
    assert ended.code == 0, ended.stderr
    assert seaweedfs.json("out/a.wav.json")["size"] == len(b"first")
    assert ended.status["items"][0]["version"] == first


def test_passing_trouble_with_one_record_is_75_and_the_rest_is_done(plain: Supervisor, s3: S3Server) -> None:
    for key in ("a.wav", "b.wav", "c.wav"):
        s3.put(key)

    def one_is_stuck(request: Request) -> Refusal | None:
        return Refusal(status=503, code="SlowDown") if request.path.startswith("/recordings/b.wav") else None

    event = json.dumps(notification(s3.bucket, "a.wav", "b.wav", "missing.wav", "c.wav"))
    with Gate(s3.endpoint, one_is_stuck) as gate:
        ended = plain("run", JOB_EVENT=event, JOB_OUTPUT=f"s3://{s3.bucket}/out/", JOB_MAX_FAILURES="3",
                      **s3.variables | {"AWS_ENDPOINT_URL": gate.endpoint, "AWS_MAX_ATTEMPTS": "1"})  # fmt: skip
    assert ended.code == 75
    assert ended.status["state"] == "PARTIAL"
    assert "b.wav" in ended.status["error"]["message"]
    assert [item["state"] for item in ended.status["items"]] == ["done", "failed", "failed", "done"]
    assert {"out/a.wav.json", "out/c.wav.json"} < set(s3.keys())


def test_one_line_is_enough_for_several_failures(plain: Supervisor, s3: S3Server) -> None:
    event = json.dumps(notification(s3.bucket, "missing.wav", "gone.wav"))
    ended = plain("run", JOB_EVENT=event, JOB_OUTPUT=f"s3://{s3.bucket}/out/", **s3.variables)
    assert ended.code == 66
    assert len(ended.stderr.splitlines()) == 1
