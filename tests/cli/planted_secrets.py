"""A control plane whose objects have a different secret in each place where a person may put one."""

import base64
import json
from typing import Any

from tests.cli.fake_kubelet import NODE

_NAMESPACE = "planted"
_LABELS = {"app": "osm-controller", "meshName": "planted"}


class Planted:
    """Makes objects, and finds the secrets of them in a text."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}

    def secret(self, place: str) -> str:
        """A secret for a place; it is valid as a name."""
        return self._places.setdefault(place, f"hush{len(self._places):03}x")

    def found_in(self, text: str) -> dict[str, str]:
        """The places whose secrets are in the text, also in base64."""
        return {
            place: secret
            for place, secret in self._places.items()
            if secret in text or base64.b64encode(secret.encode()).decode()[:-4] in text
        }

    def log(self) -> str:
        """A log with credentials that somebody's text brought into it."""
        jwt = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{self.secret('log: JWT')}"
        key = f"-----BEGIN PRIVATE KEY-----\\n{self.secret('log: key')}\\n-----END PRIVATE KEY-----"
        pem = base64.b64encode(f"-----BEGIN PRIVATE KEY-----\n{self.secret('log: base64 key')}".encode()).decode()
        texts = [
            *("it runs", jwt, key, pem, f"Authorization: Bearer {self.secret('log: bearer')}abcdefgh"),
            *(f"https://user:{self.secret('log: URL')}@host/", f"password={self.secret('log: password')}"),
        ]
        return "".join(f'{{"level":"info","message":"{text}"}}\n' for text in texts)

    def objects(self) -> list[dict[str, Any]]:
        """The objects. The namespace is first."""
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": _NAMESPACE, "annotations": self._annotations("namespace")},
        }
        return [
            namespace,
            self._deployment(),
            self._pod(),
            self._event(),
            self._service(),
            self._endpoint_slice(),
            self._mesh_config(),
            self._webhook(),
        ]

    def _annotations(self, of: str) -> dict[str, str]:
        applied = json.dumps({"spec": {"env": self.secret(f"{of}: last-applied-configuration")}})
        return {
            "kubectl.kubernetes.io/last-applied-configuration": applied,
            "kubernetes.io/change-cause": f"kubectl --token={self.secret(f'{of}: change-cause')}",
            "openservicemesh.io/unknown": self.secret(f"{of}: own prefix"),
            "example.com/password": self.secret(f"{of}: annotation"),
        }

    def _metadata(self, of: str, *, name: str = "osm-controller", **more: Any) -> dict[str, Any]:
        labels = {**_LABELS, "team": self.secret(f"{of}: label")}
        return {"name": name, "namespace": _NAMESPACE, "labels": labels, "annotations": self._annotations(of), **more}

    def _container(self, of: str) -> dict[str, Any]:
        return {
            "name": "osm-controller",
            "image": "osm/osm-controller:v1",
            "command": ["sh", "-c", f"run --password {self.secret(f'{of}: command')}"],
            "args": [
                *("--verbosity=info", f"--vault-token={self.secret(f'{of}: flag')}", "--vault-token"),
                *(self.secret(f"{of}: argument after a flag"), self.secret(f"{of}: positional argument")),
                f"--no-such-flag={self.secret(f'{of}: unknown flag')}",
            ],
            "env": [
                {"name": "PASSWORD", "value": self.secret(f"{of}: variable")},
                {
                    "name": "OTHER",
                    "valueFrom": {
                        "secretKeyRef": {"name": self.secret(f"{of}: secretKeyRef"), "key": self.secret(f"{of}: key")}
                    },
                },
            ],
            "envFrom": [{"secretRef": {"name": self.secret(f"{of}: envFrom")}, "prefix": "X_"}],
            "livenessProbe": {
                "httpGet": {
                    "path": f"/health/alive?token={self.secret(f'{of}: query of a probe')}",
                    "port": 9091,
                    "httpHeaders": [{"name": "Authorization", "value": self.secret(f"{of}: header of a probe")}],
                }
            },
            "readinessProbe": {"exec": {"command": ["curl", "-H", self.secret(f"{of}: command of a probe")]}},
            "lifecycle": {"preStop": {"exec": {"command": ["sh", self.secret(f"{of}: preStop")]}}},
            "resources": {"requests": {"cpu": "100m"}},
            "volumeMounts": [{"name": "certs", "mountPath": "/certs", "subPath": self.secret(f"{of}: subPath")}],
            "workingDir": f"/{self.secret(f'{of}: workingDir')}",
        }

    def _pod_spec(self, of: str) -> dict[str, Any]:
        added = {"name": "added", "image": "example.com/added:1", "env": self._container(f"{of}: added")["env"]}
        return {
            "containers": [self._container(of), added],
            "initContainers": [{**self._container(f"{of}: init"), "name": "init", **_WITHOUT_PROBES}],
            "serviceAccountName": "osm-controller",
            "imagePullSecrets": [{"name": self.secret(f"{of}: imagePullSecrets")}],
            "hostname": self.secret(f"{of}: hostname"),
            "hostAliases": [{"ip": "192.0.2.1", "hostnames": [self.secret(f"{of}: hostAliases")]}],
            "nodeSelector": {"pool": self.secret(f"{of}: nodeSelector")},
            "tolerations": [
                {
                    "key": self.secret(f"{of}: toleration key"),
                    "operator": "Equal",
                    "value": self.secret(f"{of}: toleration"),
                }
            ],
            "volumes": [
                {"name": "certs", "secret": {"secretName": self.secret(f"{of}: Secret of a volume")}},
                {"name": "files", "nfs": {"server": self.secret(f"{of}: NFS server"), "path": "/"}},
            ],
            "securityContext": {"seLinuxOptions": {"user": self.secret(f"{of}: SELinux user")}},
        }

    def _deployment(self) -> dict[str, Any]:
        template = {
            "metadata": {"labels": _LABELS, "annotations": self._annotations("template")},
            "spec": self._pod_spec("template"),
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self._metadata("deployment"),
            "spec": {"replicas": 0, "selector": {"matchLabels": _LABELS}, "template": template},
        }

    def _pod(self) -> dict[str, Any]:
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "osm-controller", "uid": "1-2-3"}
        statuses = [
            {
                "name": name,
                "image": "osm",
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                "lastState": {
                    "terminated": {"exitCode": 1, "message": f"token: {self.secret(f'{name}: termination')}"}
                },
            }
            for name in ("osm-controller", "added")
        ]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self._metadata("pod", name="osm-controller-planted", ownerReferences=[owner]),
            "spec": {**self._pod_spec("pod"), "nodeName": NODE},
            "status": {"phase": "Running", "containerStatuses": statuses},
        }

    def _event(self) -> dict[str, Any]:
        about = {"apiVersion": "v1", "kind": "Pod", "namespace": _NAMESPACE, "name": "osm-controller-planted"}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": self._metadata("event", name="osm-controller-planted.1"),
            "involvedObject": {**about, "fieldPath": self.secret("event: fieldPath")},
            "type": "Warning",
            "reason": "Failed",
            "message": f"https://user:{self.secret('event: message')}@registry.example.com/ refuses",
            "source": {"component": "kubelet", "host": self.secret("event: host")},
        }

    def _service(self) -> dict[str, Any]:
        spec = {
            "ports": [{"name": "http", "port": 9091}],
            "type": "ClusterIP",
            "externalIPs": [],
            "selector": {"app": "osm-controller", "team": self.secret("service: selector")},
        }
        return {"apiVersion": "v1", "kind": "Service", "metadata": self._metadata("service"), "spec": spec}

    def _endpoint_slice(self) -> dict[str, Any]:
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": self._metadata("slice", name="osm-controller-1"),
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.1"], "hostname": self.secret("slice: hostname")}],
        }

    def _mesh_config(self) -> dict[str, Any]:
        url = f"https://user:{self.secret('MeshConfig: tracing')}@tracing/"
        return {
            "apiVersion": "config.openservicemesh.io/v1alpha2",
            "kind": "MeshConfig",
            "metadata": self._metadata("MeshConfig", name="osm-mesh-config"),
            "spec": {"observability": {"osmLogLevel": "info", "tracing": {"address": url}}},
        }

    def _webhook(self) -> dict[str, Any]:
        bundle = base64.b64encode(f"-----BEGIN PRIVATE KEY-----\n{self.secret('webhook: bundle')}".encode()).decode()
        url = f"https://127.0.0.1:1/{self.secret('webhook: path of the URL')}"
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {
                "name": "osm-webhook-planted",
                "labels": {"team": self.secret("webhook: label")},
                "annotations": self._annotations("webhook"),
            },
            "webhooks": [
                {
                    "name": "planted.example.com",
                    "clientConfig": {"url": url, "caBundle": bundle},
                    "namespaceSelector": {"matchLabels": {"team": self.secret("webhook: selector")}},
                    "rules": [],
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "failurePolicy": "Ignore",
                    "matchConditions": [{"name": "x", "expression": f"'{self.secret('webhook: condition')}' == ''"}],
                }
            ],
        }


_WITHOUT_PROBES: dict[str, Any] = dict.fromkeys(("livenessProbe", "readinessProbe", "lifecycle"))
