"""What a program finds outside: a folder on one machine, or a cluster; and the authority of its certificates."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Final

from osm_probes.configuration.shared import Shared
from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import beside
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.connect import connect
from osm_probes.kube.events import EventRecorder
from osm_probes.pki.authority import Authority
from osm_probes.pki.folder import load_or_create_authority
from osm_probes.program.authority_secret import AuthoritySecret


class UnknownCertificateManagerError(OsmError):
    """A certificate manager is asked for that this program does not have."""


class NoMeshFolderError(OsmError):
    """--mesh-dir names no folder."""


@dataclass(frozen=True, slots=True)
class World:
    """The authority of the mesh's certificates, and the cluster where there is one, with the Events of the own pod.

    authority_problem: what is wrong with where the authority is kept; it does not keep the program from its work.
    """

    authority: Authority
    client: KubernetesClient | None = None
    events: EventRecorder | None = None
    authority_problem: Latest[str] = field(default_factory=lambda: Latest(""))


@contextlib.asynccontextmanager
async def found_world(shared: Shared, *, agent: str, waiting: Callable[[str], None]) -> AsyncGenerator[World, None]:
    """The world that the flags name; the authority is made on the first start.

    agent: who asks the API server. In a cluster this waits, and tells `waiting` why, until the API server has said what
    the authority is. Raises UnknownCertificateManagerError, NoMeshFolderError, AuthorityFolderError,
    AuthoritySecretError and UnusableKubeconfigError.
    """
    if shared.certificate_manager != _BUILT_IN:
        raise UnknownCertificateManagerError(
            f"--certificate-manager {shared.certificate_manager} is not supported: use {_BUILT_IN}"
        )
    name = f"{shared.mesh_name}-ca"
    if shared.mesh_dir is not None:
        if not shared.mesh_dir.is_dir():
            raise NoMeshFolderError(f"--mesh-dir {shared.mesh_dir} is no folder: name one with Kubernetes manifests")
        yield World(await asyncio.to_thread(load_or_create_authority, shared.ca_dir, common_name=name))
        return
    async with connect(shared.kubeconfig, agent=agent) as client:
        namespace = shared.osm_namespace
        secret = AuthoritySecret(client, namespace=namespace, name=shared.ca_bundle_secret_name, common_name=name)
        authority = await secret.load_or_create(waiting=waiting)
        events = EventRecorder(client, namespace=namespace, pod=shared.pod, component=agent)
        async with beside(keep=secret.keep(authority), events=events.run()):
            yield World(authority, client, events, secret.problem)


_BUILT_IN: Final = "tresor"
