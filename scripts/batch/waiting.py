"""Why a job stays RUNNABLE: what Batch itself says, and what its queue and compute environments show.

Batch gives a reason only to the job at the head of a queue, and none where a queue or an environment is disabled or
invalid: https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from scripts.batch import aws
from supervisor.failures import Failure

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

_NEVER = "it can never run like this"
# How the reasons that no waiting changes begin.
_LASTING = ("MISCONFIGURATION:", "ACTION_REQUIRED")


def why_it_waits(batch: BatchClient, job: Mapping[str, Any]) -> list[str]:
    """What keeps a RUNNABLE job from running, a sentence each; nothing where it may only have to wait its turn, or
    where nobody may look."""
    said = str(job.get("statusReason", ""))
    reasons = [f"{_NEVER}: {_what_to_do(said)}"] if said.startswith(_LASTING) else []
    try:
        with aws.errors():
            reasons += _of_queue(batch, job)
    except Failure:
        pass  # the right to describe queues is not needed to follow a job
    return reasons


def _what_to_do(said: str) -> str:
    if "MAX_RESOURCE" in said:
        return "raise maxvCpus of the queue's compute environments, or ask for fewer vCPUs"
    if "JOB_RESOURCE" in said or "INSTANCE_CONFIGURATION" in said:
        return "give the queue an environment whose instance types have the vCPUs, memory and GPUs of its definition"
    if "SERVICE_ROLE" in said:
        return "give the compute environment's service role its permissions (AWSBatchServiceRole)"
    return "correct what Batch names"


def _of_queue(batch: BatchClient, job: Mapping[str, Any]) -> Iterator[str]:
    found = batch.describe_job_queues(jobQueues=[job["jobQueue"]])["jobQueues"]
    if not found:
        yield f"{_NEVER}: its queue {job['jobQueue']} is gone"
        return
    queue: Mapping[str, Any] = cast("Mapping[str, Any]", found[0])
    name = queue["jobQueueName"]
    if queue["state"] == "DISABLED":
        yield f"{_NEVER}: the queue {name} is disabled: enable it"
    if queue.get("status") == "INVALID":
        yield f"{_NEVER}: the queue {name} is invalid: {queue.get('statusReason', 'no reason given')}"
    names = [each["computeEnvironment"] for each in queue.get("computeEnvironmentOrder", ())]
    if names:
        answer = batch.describe_compute_environments(computeEnvironments=names)["computeEnvironments"]
        yield from _of_environments(cast("Sequence[Mapping[str, Any]]", answer), job)


def _of_environments(environments: Sequence[Mapping[str, Any]], job: Mapping[str, Any]) -> Iterator[str]:
    """Nothing where one of them could run the job."""
    faults = [_fault(each, _needed_vcpus(job)) for each in environments]
    if environments and all(faults):
        yield f"{_NEVER}: {'; '.join(fault for fault in faults if fault)}"


def _fault(environment: Mapping[str, Any], vcpus: float) -> str | None:
    name = environment["computeEnvironmentName"]
    if environment.get("state") == "DISABLED":
        return f"the compute environment {name} is disabled"
    if environment.get("status") == "INVALID":
        return f"the compute environment {name} is invalid: {environment.get('statusReason', 'no reason given')}"
    most = environment.get("computeResources", {}).get("maxvCpus")
    if most is not None and vcpus > most:
        return f"the compute environment {name} has at most {most} vCPUs, and the job asks for {vcpus:g}"
    return None


def _needed_vcpus(job: Mapping[str, Any]) -> float:
    container = job.get("container", {})
    asked = {each["type"]: each["value"] for each in container.get("resourceRequirements", ())}
    return float(asked.get("VCPU") or container.get("vcpus") or 0)
