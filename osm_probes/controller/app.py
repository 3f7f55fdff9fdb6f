"""osm-controller's own part: CA, mesh folder, publisher, ADS; what the judge is told; the stop in reverse."""

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from osm_probes.ads import canary_resource
from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.errors import NotAdmittedError
from osm_probes.ads.events import Event
from osm_probes.ads.limits import Limits
from osm_probes.ads.listen import ListenConfig
from osm_probes.ads.server import AdsServer
from osm_probes.configuration.controller import ControllerConfiguration
from osm_probes.controller.capacity import capacity, streams_at_most
from osm_probes.controller.debug import TOPIC, connected_json
from osm_probes.controller.metrics import ControllerMetrics
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.tasks import background_tasks
from osm_probes.health.judge_state import AdsCanary
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.mesh.identity import CANARY, Identity, ProxyName
from osm_probes.mesh.ports import SMI_VERSION_PATH
from osm_probes.mesh.settings import Settings
from osm_probes.mesh.smi import smi_body
from osm_probes.pki.certificate import Certificate
from osm_probes.pki.certificate_store import CertificateStore
from osm_probes.publisher import Publisher
from osm_probes.runtime.environment import Environment, Reads, load_environment
from osm_probes.runtime.process import Process
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.xds.build import SnapshotBuilder
from osm_probes.xds.names import controller_name

# What is left of the grace for the end of streams is kept below it, so that the rest still fits.
_LAST_STEPS: Final = 2.0


async def serve_control(configuration: ControllerConfiguration, process: Process) -> None:
    """Serve until a stop is asked for, then drain. Raises OsmError where it cannot start."""
    metrics = ControllerMetrics()
    async with load_environment(
        configuration.shared, agent="osm-controller", reads=Reads.WHOLE_MESH, metrics=metrics, waiting=process.warn
    ) as environment:
        await ControllerApp(configuration, process, environment=environment, metrics=metrics).run()


class ControllerApp:
    """The parts of a controller, and what passes between them."""

    def __init__(
        self,
        configuration: ControllerConfiguration,
        process: Process,
        *,
        environment: Environment,
        metrics: ControllerMetrics,
    ) -> None:
        shared = configuration.shared
        self._configuration = configuration
        self._process = process
        self._trust = environment.trust
        self._signer = environment.trust.value.signer
        self._environment = environment
        self._source = environment.source
        self._metrics = metrics
        self._lifecycle = Lifecycle("ADS")
        self._capacity = capacity()
        validity = timedelta(seconds=Settings().certificate_validity)
        self._workloads = CertificateStore(self._issue_workload, validity=validity)
        self._own = CertificateStore(self._issue, validity=validity)
        self._server_name = controller_name(shared.osm_namespace)
        canary = ProxyName(str(uuid.uuid4()), CANARY, Identity(shared.osm_namespace, "osm-controller"))
        self._canary_name = canary.common_name(shared.trust_domain)
        self._was_full = False
        self._cache = SnapshotCache()
        self._publisher = Publisher(
            self._source.mesh,
            cache=self._cache,
            certificates=self._workloads,
            builder=SnapshotBuilder(shared.trust_domain),
            trust=self._trust,
            trust_domain=shared.trust_domain,
        )
        self._shown = self._own.certificate(self._server_name), self._trust.value.roots_pem
        self._ads = AdsServer(
            self._lifecycle,
            self._cache,
            authenticator=Authenticator(shared.trust_domain, self._admit),
            listen_config=ListenConfig(configuration.ads_port, *self._shown, shared.bind_address or ""),
            limits=Limits(connections=self._capacity.connections),
            observe=self._observe,
        )

    async def run(self) -> None:
        """Serve until a stop is asked for, then drain."""
        self._process.measure(self._metrics)
        self._process.keeper.texts[TOPIC] = lambda: connected_json(self._ads.proxies, self._source.mesh.value)
        if self._environment.cluster is not None:
            from osm_probes.runtime.pod_events import telling

            self._process.keeper.transitions = telling(self._environment.cluster.events)
        # Before it listens: the judge must know whom to dial when the first proxy is served.
        self._tell()
        async with (
            background_tasks(
                show=self._process.show(self._lifecycle),
                publish=self._publisher.run(),
                workloads=self._workloads.renew(),
                own=self._own.renew(),
            ),
            self._duties(),
            self._ads.serving(),
            background_tasks(
                mesh=self._follow_mesh(),
                manifests=self._tell_of(self._source.problem),
                builds=self._tell_of(self._publisher.failing),
                authority=self._tell_of(self._environment.authority_problem),
                certificates=self._follow_certificates(),
                trust=self._follow_trust(),
                versions=self._follow_versions(),
            ),
        ):
            await self._process.until_stop(grace=self._configuration.shared.grace)
            await self._drain()

    async def _follow_versions(self) -> None:
        """Answer /smi/version by what the cluster serves."""
        if self._environment.cluster is not None:
            async for served in self._environment.cluster.source.versions.values():
                self._process.answer(SMI_VERSION_PATH, smi_body(served))

    def _duties(self) -> contextlib.AbstractAsyncContextManager[None]:
        """What one of all controllers does for the cluster."""
        if self._environment.cluster is None:
            return contextlib.nullcontext()
        from osm_probes.controller.leader import leader_tasks

        return leader_tasks(
            self._environment.cluster,
            self._configuration.shared,
            self._trust,
            certificate_validity=lambda: self._settings().certificate_validity,
        )

    def _settings(self) -> Settings:
        mesh = self._source.mesh.value
        return mesh.settings if mesh is not None else Settings()

    async def _drain(self) -> None:
        shared = self._configuration.shared
        if self._lifecycle.phase in (Phase.SERVING, Phase.RECOVERING):
            await self._process.drain(self._lifecycle, delay=shared.drain_delay)
        await self._ads.drain(within=max(1.0, shared.grace - shared.drain_delay - _LAST_STEPS))

    async def _follow_mesh(self) -> None:
        """Apply the settings of each new mesh, and tell the judge whether there is one."""
        async for _ in self._source.mesh.values():
            settings = self._settings()
            self._ads.max_streams = streams_at_most(
                self._capacity,
                flag=self._configuration.max_data_plane_connections,
                setting=settings.max_data_plane_connections,
            )
            for certificates in (self._workloads, self._own):
                certificates.change_validity(timedelta(seconds=settings.certificate_validity))
            self._process.log_at(settings.log_level)
            self._tell()
            await self._ads.recheck()

    async def _tell_of(self, latest: Latest[Any]) -> None:
        """Tell the judge anew whenever this changes."""
        async for _ in latest.values():
            self._tell()

    async def _follow_certificates(self) -> None:
        """Show the ADS's newest certificate, and give the judge the newest of the canary."""
        async for _ in self._own.renewed.values():
            await self._show()

    async def _follow_trust(self) -> None:
        """Trust whom the newest trust names, and have its signer sign what is in use."""
        async for trust in self._trust.values():
            await self._show()
            if trust.signer != self._signer:
                self._signer = trust.signer
                for certificates in (self._workloads, self._own):
                    certificates.replace_all()

    async def _show(self) -> None:
        shown = self._own.certificate(self._server_name), self._trust.value.roots_pem
        if shown != self._shown:
            self._shown = shown
            await self._ads.renew(shown[0], root_pem=shown[1])
        self._tell()

    def _tell(self) -> None:
        """Tell the judge all that it cannot see itself."""
        self._was_full = self._ads.full
        canary = self._own.certificate(self._canary_name)
        self._process.brief(
            told={"mesh": self._mesh_problem(), "capacity": self._capacity_problem()},
            warnings=tuple(self._warnings()),
            expiries={
                "root": self._trust.value.signer.not_after,
                "ads": self._shown[0].not_after,
                "canary": canary.not_after,
            },
            ads=AdsCanary(
                address=self._configuration.shared.bind_address or "127.0.0.1",
                port=self._ads.port,
                server_name=self._server_name,
                root_pem=self._trust.value.roots_pem,
                chain_pem=canary.chain_pem,
                key_pem=canary.key_pem,
                request=canary_resource.REQUEST,
                expected=canary_resource.EXPECTED,
            ),
        )

    def _warnings(self) -> Iterator[str]:
        if self._source.mesh.value is not None and self._source.problem.value:
            yield f"the last good mesh is served: {self._source.problem.value}"
        if self._environment.authority_problem.value:
            yield self._environment.authority_problem.value
        for identity, reason in self._publisher.failing.value.items():
            yield f"the last good configuration of {identity} is served: {reason}"

    def _mesh_problem(self) -> str:
        if self._source.mesh.value is not None:
            return self._publisher.problem.value
        return self._source.problem.value or "the mesh has not been read yet"

    def _capacity_problem(self) -> str:
        return f"all {self._ads.max_streams} places for proxies are taken" if self._ads.full else ""

    def _admit(self, name: ProxyName) -> None:
        """Only pods of the mesh, under their own service account."""
        mesh = self._source.mesh.value
        if mesh is None or not mesh.has_proxy(name.uuid, identity=name.identity):
            raise NotAdmittedError(f"no pod of the mesh has the proxy {name.uuid} with service account {name.identity}")

    def _observe(self, event: Event, /, *, type_url: str = "", seconds: float = 0.0) -> None:
        self._metrics.count(event.value, type_url=type_url, seconds=seconds)
        if event in (Event.CONNECTED, Event.RECONNECTED, Event.DISCONNECTED, Event.CAPPED):
            # A stream is counted once the event is over.
            asyncio.get_running_loop().call_soon(self._tell_capacity)

    def _tell_capacity(self) -> None:
        if self._ads.full != self._was_full:
            self._tell()

    def _issue(self, name: str, validity: timedelta) -> Certificate:
        self._metrics.issued.inc()
        return self._trust.value.signer.issue(name, validity=validity)

    def _issue_workload(self, name: str, validity: timedelta) -> Certificate:
        self._metrics.issued.inc()
        return self._trust.value.signer.issue_reproducibly(name, validity=validity)
