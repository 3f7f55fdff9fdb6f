"""What surrounds the pods of a control plane -> what is missing there: replicas, Services, CRDs, the Lease."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from osm_probes.cli.control_planes import CONTROLLER, INJECTOR, ControlPlane
from osm_probes.cli.objects import Deployment, Metadata, Pod
from osm_probes.cli.verify.containers import removal
from osm_probes.cli.verify.result import Result, failure, together, unknown, warning
from osm_probes.kube.errors import KubernetesError, NotFoundError
from osm_probes.kube.kind import Kind

INSTALL: Final = "install the chart again: it brings it"
_NO_EFFECT: Final = "objects of this kind have no effect"


class Endpoint(msgspec.Struct, frozen=True):
    """Where a Service goes."""

    class Conditions(msgspec.Struct, frozen=True):
        """Whether it may be used."""

        ready: bool | None = None

    conditions: Conditions = msgspec.field(default_factory=Conditions)


class EndpointSlice(msgspec.Struct, frozen=True):
    """Some of a Service's endpoints."""

    metadata: Metadata
    endpoints: list[Endpoint] | None = None


class Service(msgspec.Struct, frozen=True):
    """A Service."""

    metadata: Metadata


class _Resource(msgspec.Struct, frozen=True):
    name: str = ""


class _Resources(msgspec.Struct, frozen=True):
    resources: list[_Resource] = []


def serves(content: bytes, kind: Kind) -> bool:
    """Whether the kinds of a group and version, as the API server tells them, have this one."""
    try:
        return kind.plural in {each.name for each in msgspec.json.decode(content, type=_Resources).resources}
    except msgspec.DecodeError:
        return False


def judge_enrolment(plane: ControlPlane, owners: Mapping[str, str] | KubernetesError) -> Result:
    """Nobody may inject into the control plane's namespace. `owners`: mesh by namespace that it injects."""
    name = "Own namespace is not injected"
    if isinstance(owners, KubernetesError):
        return unknown(name, owners.needing("list namespaces"))
    owner = owners.get(plane.namespace)
    if owner is None:
        return Result(name=name)
    reason = (
        f"namespace {plane.namespace} is enrolled in mesh {owner} with sidecar injection: its next pods get sidecars"
    )
    return failure(name, reason, do=[removal(plane.namespace, owner)])


def judge_replicas(app: str, deployment: Deployment | None, pods: Sequence[Pod], *, why: Sequence[str]) -> Result:
    """Whether the Deployment is there, and its pods are; `why` they cannot be made, if anybody said so."""
    name = f"Deployment {app}"
    if deployment is None:
        return failure(name, "there is none", do=[INSTALL])
    ready = sum(any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions) for pod in pods)
    wanted = deployment.spec.replicas
    if not wanted:
        return failure(
            name,
            "it is scaled to 0",
            do=[f"kubectl scale -n {deployment.metadata.namespace} deployment {app} --replicas 1"],
        )
    if ready >= wanted:
        return Result(name=name)
    words = f"{ready} of {wanted} pods are ready"
    return warning(name, words, *why) if ready else failure(name, words, *why)


def judge_services(
    services: Sequence[Service] | KubernetesError, slices: Sequence[EndpointSlice] | KubernetesError
) -> Result:
    """Proxies find the ADS, and the API server the injector, by Services."""
    name = "Services"
    if isinstance(services, KubernetesError):
        return unknown(name, services.needing("list services"))
    if isinstance(slices, KubernetesError):
        return unknown(name, slices.needing("list endpointslices"))
    return together(name, [_judge_service(app, services, slices) for app in (CONTROLLER, INJECTOR)])


def _judge_service(app: str, services: Sequence[Service], slices: Sequence[EndpointSlice]) -> Result:
    if app not in {each.metadata.name for each in services}:
        return failure(app, "there is no such Service", do=[INSTALL])
    own = (each for each in slices if each.metadata.labels.get("kubernetes.io/service-name") == app)
    # Kubernetes says to take an unknown readiness as a yes.
    ready = sum(endpoint.conditions.ready is not False for each in own for endpoint in each.endpoints or ())
    return Result(name=app) if ready else failure(app, "it has no ready endpoint", do=["see the probes of its pods"])


def judge_crds(served: Mapping[Kind, KubernetesError | None]) -> Result:
    """The kinds that the chart brings; a mesh without them runs, but does what nobody wanted."""
    return together("CRDs", list(_judge_kinds(served)))


def _judge_kinds(served: Mapping[Kind, KubernetesError | None]) -> Iterator[Result]:
    for kind, error in served.items():
        if isinstance(error, NotFoundError):
            yield warning(
                str(kind), f"{kind.version} is not served: {_NO_EFFECT}", do=["kubectl apply -f charts/osm/crds"]
            )
        elif error:
            yield unknown(str(kind), str(error))
        else:
            yield Result(name=str(kind))


def judge_lease(holder: str | KubernetesError, pods: Sequence[Pod]) -> Result:
    """Which controller looks after what one of them does for all; its work can wait, so nothing here is a failure."""
    name = "Lease holder"
    if isinstance(holder, NotFoundError):
        return warning(name, f"there is no Lease {CONTROLLER}: no controller looks after the Secrets of sidecars")
    if isinstance(holder, KubernetesError):
        return unknown(name, holder.needing("get leases"))
    if any(holder.startswith(pod.metadata.name) for pod in pods):
        return Result(name=name)
    return warning(name, f"{holder} holds it, which is no pod of {CONTROLLER}" if holder else "nobody holds it")
