"""Bootstrap Secrets and pods of proxies, in a real API server, and a garbage collector for them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from osm_probes.admission.pod import bootstrap_secret_name
from osm_probes.cluster.bootstrap_gc import BootstrapGarbageCollector, ClusterView, ProxyPods
from osm_probes.cluster.bootstrap_secrets import VALIDITY, CredentialIssuer
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.kube.connect import connect
from osm_probes.mesh.identity import Identity
from osm_probes.mesh.labels import BOOTSTRAP_MAC, CERTIFICATE_EXPIRES, MANAGED_BY, PROXY_UUID, TRUST_FINGERPRINT
from osm_probes.mesh.mesh import Mesh, NamespaceMetadata
from osm_probes.mesh.proxy_uuid import UuidKey
from osm_probes.pki.authority import Authority
from osm_probes.pki.trust import Trust
from osm_probes.sources.objects import Pod, PodSpec
from osm_probes.sources.schema import Metadata
from tests.kubernetes.apiserver import ApiServer

TRUST = Trust.of(Authority.create("osm-ca"))
KEY = UuidKey.create()
LEGACY_UUID = "5d7e2f10-3c44-4e0a-8f6b-0a1b2c3d4e5f"
MERGE = "application/merge-patch+json"
Json = dict[str, Any]


def seller(namespace: str) -> Identity:
    """The identity of the pods that `pod` makes."""
    return Identity(namespace, "seller")


def annotations(namespace: str, uuid: str, *, expires: datetime | None = None) -> dict[str, str]:
    """The annotations that the injector writes."""
    at = expires or datetime.now(UTC) + VALIDITY
    mac = KEY.secret_mac(bootstrap_secret_name(uuid), identity=seller(namespace))
    return {
        TRUST_FINGERPRINT: TRUST.fingerprint,
        CERTIFICATE_EXPIRES: f"{at:%Y-%m-%dT%H:%M:%SZ}",
        BOOTSTRAP_MAC: mac,
    }


def secret(namespace: str, uuid: str, *, name: str = "", **metadata: Any) -> Json:
    """A Secret as the injector makes it, with other metadata where given."""
    labels = {PROXY_UUID: uuid, MANAGED_BY: "osm-injector"}
    default = {"labels": labels, "annotations": annotations(namespace, uuid)} | metadata
    named = {"name": name or bootstrap_secret_name(uuid), "namespace": namespace, **default}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": named}


def pod(namespace: str, uid: str, *, name: str = "shop", account: str = "seller") -> Pod:
    """A pod as the source knows it."""
    return Pod(metadata=Metadata(name=name, namespace=namespace, uid=uid), spec=PodSpec(service_account_name=account))


def pods_by_uuid(*pods: tuple[str, Pod]) -> ProxyPods:
    """These pods, given with their uuids, as the source returns them."""
    grouped: dict[tuple[str, str], Sequence[Pod]] = defaultdict(list)
    for uuid, found in pods:
        grouped[found.metadata.namespace, uuid] = [*grouped[found.metadata.namespace, uuid], found]
    return grouped


def mesh(namespaces: Iterable[str]) -> Mesh:
    """A mesh with these namespaces."""
    return Mesh(namespaces={name: NamespaceMetadata() for name in namespaces})


def get_secret(server: ApiServer, namespace: str, uuid: str) -> Json:
    """A bootstrap Secret."""
    return server.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{bootstrap_secret_name(uuid)}")


def annotate(server: ApiServer, namespace: str, uuid: str, **values: str | None) -> None:
    """Change annotations of a bootstrap Secret, as a user does. The keys are the names of labels.py's constants."""
    named = {TRUST_FINGERPRINT: "trust", CERTIFICATE_EXPIRES: "expires", BOOTSTRAP_MAC: "mac"}
    change = {key: values[name] for key, name in named.items() if name in values}
    path = f"/api/v1/namespaces/{namespace}/secrets/{bootstrap_secret_name(uuid)}"
    server.request("PATCH", path, {"metadata": {"annotations": change}}, content_type=MERGE)


async def owners(server: ApiServer, namespace: str) -> dict[str, list[str]]:
    """The owners' uids of each Secret."""
    response = await asyncio.to_thread(server.request, "GET", f"/api/v1/namespaces/{namespace}/secrets")
    secrets = (found["metadata"] for found in response["items"])
    return {found["name"]: [owner["uid"] for owner in found.get("ownerReferences", [])] for found in secrets}


@asynccontextmanager
async def running_gc(
    server: ApiServer,
    pods: ProxyPods | None,
    *namespaces: str,
    is_leader: Latest[bool] | None = None,
    user: str = "",
    key: UuidKey | None = KEY,
    trust: Latest[Trust] | None = None,
    validity: timedelta = VALIDITY,
    renewal_pause: float = 3600.0,
) -> AsyncGenerator[BootstrapGarbageCollector]:
    """A running garbage collector for a mesh with these namespaces. It waits for 2 s instead of 90."""
    async with connect(str(server.kubeconfig_for(user) if user else server.kubeconfig)) as client:
        credentials = CredentialIssuer(
            trust or Latest(TRUST), trust_domain="cluster.local", osm_namespace="osm-system", validity=validity
        )
        view = ClusterView(Latest(mesh(namespaces)), lambda: pods, lambda: key)
        collector = BootstrapGarbageCollector(
            client,
            is_leader=is_leader or Latest(True),  # noqa: FBT003
            cluster=view,
            credentials=credentials,
            orphaned_after=2.0,
            renewal_pause=renewal_pause,
        )
        async with background_tasks(run=collector.run()):
            yield collector
