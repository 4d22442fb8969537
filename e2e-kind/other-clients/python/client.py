"""The official Python client: list, watch, and exec over WebSocket. usage: client.py NAMESPACE NAME"""

import sys
import threading

from kubernetes import client, config, watch
from kubernetes.stream import stream

namespace, name = sys.argv[1:]
config.load_kube_config()
core = client.CoreV1Api()

pods = core.list_namespaced_pod(namespace).items
assert "target" in [pod.metadata.name for pod in pods], pods
print("list: the pod is there")


def create():
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data={"a": "1"})
    core.create_namespaced_config_map(namespace, body)


# The event has to come while the watch is under way, and at once.
threading.Timer(2, create).start()
version = core.list_namespaced_config_map(namespace).metadata.resource_version
seen = []
events = watch.Watch()
for event in events.stream(
    core.list_namespaced_config_map,
    namespace,
    resource_version=version,
    field_selector=f"metadata.name={name}",
    timeout_seconds=60,
):
    seen.append(event["type"])
    if event["type"] == "ADDED":
        core.delete_namespaced_config_map(name, namespace)
    if event["type"] == "DELETED":
        events.stop()
assert seen == ["ADDED", "DELETED"], seen
print("watch: " + " ".join(seen))

session = stream(
    core.connect_get_namespaced_pod_exec,
    "target",
    namespace,
    container="main",
    command=["sh", "-c", f"read line; echo {name} $line; echo no >&2; exit 7"],
    stdin=True,
    stdout=True,
    stderr=True,
    tty=False,
    _preload_content=False,
)
session.write_stdin("hello\n")
session.run_forever(timeout=60)
output, errors, code = session.read_stdout(), session.read_stderr(), session.returncode
assert (output.strip(), errors.strip(), code) == (f"{name} hello", "no", 7), (output, errors, code)
print("exec: input, output and exit code")
