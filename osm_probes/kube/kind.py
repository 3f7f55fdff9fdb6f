"""Kinds of Kubernetes objects, and their API paths."""

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from osm_probes.kube.errors import NotFoundError

_SHOWN: Final = 100  # characters of an invalid name, which may have any length


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind as the API serves it. group: "" is the core group. plural: its name in paths and in RBAC rules.

    optional: defined by a CRD, which may not be installed. or_version: also acceptable if `version` is not served.
    """

    group: str
    version: str
    plural: str
    name: str
    optional: bool = False
    or_version: str = ""

    @property
    def api_version(self) -> str:
        """The apiVersion of its manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str = "", name: str = "") -> str:
        """The path of one object, of all objects in a namespace, or of all in the cluster.

        Raises NotFoundError if a name cannot be the name of an object.
        """
        parts = ["apis" if self.group else "api", self.api_version]
        parts += ["namespaces", _segment(namespace)] if namespace else []
        return "/" + "/".join([*parts, self.plural, *([_segment(name)] if name else [])])

    @property
    def versions(self) -> "tuple[Kind, ...]":
        """The kind in each acceptable version, the preferred one first."""
        other = replace(self, version=self.or_version, or_version=self.version) if self.or_version else None
        return (self, other) if other else (self,)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


def _segment(name: str) -> str:
    """A name as one segment of a path. A name from outside may contain anything, and must not lead to another path.

    Raises NotFoundError for the names that Kubernetes permits for no object. Escapes would not help: the API server
    replaces them before it reads the path.
    """
    if name in {".", ".."} or "/" in name or "%" in name:
        raise NotFoundError(f"{name[:_SHOWN]!r} is not the name of an object")
    return quote(name, safe="")


NAMESPACES: Final = Kind("", "v1", "namespaces", "Namespace")
PODS: Final = Kind("", "v1", "pods", "Pod")
SERVICES: Final = Kind("", "v1", "services", "Service")
SERVICE_ACCOUNTS: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
SECRETS: Final = Kind("", "v1", "secrets", "Secret")
DEPLOYMENTS: Final = Kind("apps", "v1", "deployments", "Deployment")
EVENTS: Final = Kind("", "v1", "events", "Event")
ENDPOINT_SLICES: Final = Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASES: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
WEBHOOKS: Final = Kind(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration"
)
CLUSTER_ROLES: Final = Kind("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")
ROLE_BINDINGS: Final = Kind("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
ACCESS_REVIEWS: Final = Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
ACCOUNT_REVIEWS: Final = Kind("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview")
MESH_CONFIGS: Final = Kind("config.openservicemesh.io", "v1alpha2", "meshconfigs", "MeshConfig", optional=True)
TRAFFIC_TARGETS: Final = Kind("access.smi-spec.io", "v1alpha3", "traffictargets", "TrafficTarget", optional=True)
HTTP_ROUTE_GROUPS: Final = Kind("specs.smi-spec.io", "v1alpha4", "httproutegroups", "HTTPRouteGroup", optional=True)
TCP_ROUTES: Final = Kind("specs.smi-spec.io", "v1alpha4", "tcproutes", "TCPRoute", optional=True)
TRAFFIC_SPLITS: Final = Kind(
    "split.smi-spec.io", "v1alpha2", "trafficsplits", "TrafficSplit", optional=True, or_version="v1alpha4"
)
