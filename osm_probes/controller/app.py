"""osm-controller: CA, mesh, publisher and ADS put together; what its judge is told; the stop in reverse order."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from osm_probes.ads.authenticator import Authenticator
from osm_probes.ads.canary_certificates import CanaryCertificates
from osm_probes.ads.errors import MeshUnknownError, NotAdmittedError
from osm_probes.ads.events import Event
from osm_probes.ads.limits import Limits
from osm_probes.ads.listen import ListenConfig
from osm_probes.ads.server import AdsServer
from osm_probes.configuration.controller import ControllerConfiguration
from osm_probes.controller.capacity import capacity_of_process, max_streams
from osm_probes.controller.debug import PROXIES_PAGE, proxies_page
from osm_probes.controller.delays import DelayLimits, Delays
from osm_probes.controller.metrics import ControllerMetrics
from osm_probes.foundation.latest import Latest
from osm_probes.foundation.problem import Problem
from osm_probes.foundation.tasks import lasting_tasks
from osm_probes.health.judge_state import AdsCanary
from osm_probes.health.lifecycle import Lifecycle, Phase
from osm_probes.mesh.identity import CanaryName, ProxyName
from osm_probes.mesh.names import CONTROLLER, controller_server_name
from osm_probes.mesh.ports import SMI_VERSION_PATH
from osm_probes.mesh.settings import Settings
from osm_probes.mesh.smi import smi_version_body
from osm_probes.pki.certificate import Certificate
from osm_probes.pki.certificate_store import CertificateStore
from osm_probes.publisher import Publisher
from osm_probes.runtime.environment import Environment, Reads, load_environment
from osm_probes.runtime.process import Process
from osm_probes.snapshot import canary_resource
from osm_probes.snapshot.cache import SnapshotCache
from osm_probes.xds.build import SnapshotBuilder


async def serve_controller(configuration: ControllerConfiguration, process: Process) -> None:
    """Serve until a stop is asked for, then drain. Raises OsmError if it cannot start."""
    metrics = ControllerMetrics()
    async with load_environment(
        configuration.shared,
        agent=CONTROLLER,
        reads=Reads.WHOLE_MESH,
        metrics=metrics,
        waiting=process.set_warnings,
    ) as environment:
        await ControllerApp(configuration, process, environment=environment, metrics=metrics).run()


class ControllerApp:
    """The parts of a controller, and what they tell each other."""

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
        self._capacity = capacity_of_process()
        validity = timedelta(seconds=Settings().certificate_validity)
        self._workloads = CertificateStore(self._issue_workload, validity=validity)
        self._own = CertificateStore(self._issue, validity=validity)
        self._server_name = controller_server_name(shared.osm_namespace)
        self._canary_name = CanaryName.common_name(shared.trust_domain)
        self._canary_certificates = CanaryCertificates()
        self._was_full = False
        self._unread_since: datetime | None = None
        self._cache = SnapshotCache()
        self._publisher = Publisher(
            self._source,
            self._cache,
            certificates=self._workloads,
            builder=SnapshotBuilder(shared.trust_domain),
            trust=self._trust,
            trust_domain=shared.trust_domain,
        )
        self._served = self._own.certificate(self._server_name), self._trust.value.roots_pem
        self._ads = AdsServer(
            self._lifecycle,
            self._cache,
            authenticator=Authenticator(shared.trust_domain, self._admit, self._canary_certificates.has),
            listen_config=ListenConfig(configuration.ads_port, *self._served, shared.bind_address or ""),
            limits=Limits(connections=self._capacity.connections),
            observe=self._observe,
        )
        self._delays = Delays(
            self._cache,
            self._source.updates,
            stream_delay=self._ads.registry.delay,
            limits=DelayLimits(first=shared.canary_limit, updates=configuration.updates_limit),
        )
        self._delay_problems: Mapping[str, Problem] = self._delays.problems()

    async def run(self) -> None:
        """Serve until a stop is asked for, then drain."""
        self._process.use_metrics(self._metrics)
        self._process.earns_beat = self._ads.made_progress
        self._process.judge.pages[PROXIES_PAGE] = lambda: proxies_page(self._ads.proxies, self._source.mesh.value)
        if self._environment.cluster is not None:
            from osm_probes.runtime.pod_events import transition_recorder

            self._process.judge.on_transition = transition_recorder(self._environment.cluster.events)
        self._metrics.stuck = lambda: self._ads.registry.monitor.stuck
        self._metrics.delays = self._delays
        self._metrics.rejecting = lambda: self._ads.registry.monitor.rejecting
        # Before it listens: the judge must know how to connect as soon as the first proxy is served.
        self._update_judge()
        async with (
            lasting_tasks(
                show=partial(self._process.publish_phases, self._lifecycle),
                publish=self._publisher.run,
                workloads=self._workloads.renew,
                own=self._own.renew,
            ),
            self._cluster_tasks(),
            self._ads.serving(),
            lasting_tasks(
                mesh=self._follow_mesh,
                delays=partial(self._delays.follow, self._update_delays),
                source=self._follow_source,
                builds=partial(self._update_judge_after, self._publisher.failing),
                authority=partial(self._update_judge_after, self._environment.ca_problem),
                certificates=self._follow_certificates,
                trust=self._follow_trust,
            ),
        ):
            await self._process.until_stop(grace=self._configuration.shared.grace)
            await self._drain()

    @contextlib.asynccontextmanager
    async def _cluster_tasks(self) -> AsyncGenerator[None, None]:
        """What only a controller in a cluster does: the leader's work, Events on rejecting proxies' pods, versions."""
        cluster, shared = self._environment.cluster, self._configuration.shared
        if cluster is None:
            yield
            return
        from osm_probes.controller.leader import leader_tasks
        from osm_probes.controller.proxy_events import proxy_events

        async with (
            leader_tasks(
                cluster, shared, self._trust, certificate_validity=lambda: self._settings().certificate_validity
            ),
            proxy_events(cluster.client, self._ads.registry.rejections, mesh=self._source.mesh, shared=shared),
            lasting_tasks(versions=partial(self._follow_versions, cluster.source.versions)),
        ):
            yield

    async def _follow_versions(self, versions: Latest[Mapping[str, str]]) -> None:
        """Answer /smi/version with what the cluster serves."""
        async for served in versions.values():
            self._process.set_body(SMI_VERSION_PATH, smi_version_body(served))

    def _settings(self) -> Settings:
        mesh = self._source.mesh.value
        return mesh.settings if mesh is not None else Settings()

    async def _drain(self) -> None:
        if self._lifecycle.phase in (Phase.SERVING, Phase.RECOVERING):
            await self._process.drain(self._lifecycle, delay=self._configuration.shared.drain_delay)
        await self._ads.drain(within=self._configuration.shared.drain_within)

    async def _follow_mesh(self) -> None:
        """Apply the settings of each new mesh, and update the judge."""
        async for _ in self._source.mesh.values():
            settings = self._settings()
            self._ads.max_streams = max_streams(
                self._capacity,
                flag=self._configuration.max_data_plane_connections,
                setting=settings.max_data_plane_connections,
            )
            for store in (self._workloads, self._own):
                store.change_validity(timedelta(seconds=settings.certificate_validity))
            self._process.set_log_level(settings.log_level)
            self._update_judge()
            await self._ads.recheck()

    async def _follow_source(self) -> None:
        """Update the judge when the mesh cannot be read any more, or can be again."""
        async for problem in self._source.problem.values():
            self._unread_since = (self._unread_since or datetime.now(UTC)) if problem else None
            self._update_judge()

    async def _update_judge_after(self, latest: Latest[Any]) -> None:
        """Update the judge whenever this changes."""
        async for _ in latest.values():
            self._update_judge()

    async def _follow_certificates(self) -> None:
        """Serve the ADS's newest certificate, and send the judge the canary's newest."""
        async for _ in self._own.renewed.values():
            await self._serve_certificate()

    async def _follow_trust(self) -> None:
        """Serve the newest roots, and reissue all certificates when the signer has changed."""
        async for trust in self._trust.values():
            await self._serve_certificate()
            if trust.signer != self._signer:
                self._signer = trust.signer
                for store in (self._workloads, self._own):
                    store.replace_all()

    async def _serve_certificate(self) -> None:
        served = self._own.certificate(self._server_name), self._trust.value.roots_pem
        if served != self._served:
            self._served = served
            await self._ads.renew(served[0], root_pem=served[1])
        self._update_judge()

    def _update_judge(self) -> None:
        """Tell the judge all that it cannot see itself."""
        self._was_full = self._ads.full
        canary = self._canary_certificates.give(self._own.certificate(self._canary_name))
        self._process.update_judge(
            problems={"mesh": self._mesh_problem(), "capacity": self._capacity_problem(), **self._delay_problems},
            warnings=tuple(self._warnings()),
            expiries={
                "root": self._trust.value.signer.not_after,
                "ads": self._served[0].not_after,
                "canary": canary.not_after,
            },
            ads=AdsCanary(
                address=self._configuration.shared.bind_address or "127.0.0.1",
                port=self._ads.port,
                server_name=self._server_name,
                root_pem=self._trust.value.roots_pem,
                chain_pem=canary.chain_pem,
                key_pem=canary.key_pem,
                steps=canary_resource.STEPS,
            ),
        )

    def _update_delays(self, problems: Mapping[str, Problem]) -> None:
        if problems != self._delay_problems:
            self._delay_problems = problems
            self._update_judge()

    def _warnings(self) -> Iterator[Problem]:
        if self._source.mesh.value is not None and self._source.problem.value:
            since = f" since {self._unread_since:%FT%TZ}" if self._unread_since else ""
            yield self._source.problem.value.after(f"the last good mesh is served{since}")
        if self._environment.ca_problem.value:
            yield self._environment.ca_problem.value
        if self._publisher.warning:
            yield self._publisher.warning

    def _mesh_problem(self) -> Problem:
        if self._source.mesh.value is not None:
            return self._publisher.problem.value
        return self._source.problem.value or Problem("the mesh has not been read yet")

    def _capacity_problem(self) -> Problem:
        return Problem(f"all {self._ads.max_streams} places for proxies are taken" if self._ads.full else "")

    def _admit(self, name: ProxyName) -> None:
        """Admit only pods of the mesh, with their own service account. Raises NotAdmittedError, MeshUnknownError."""
        mesh = self._source.mesh.value
        if mesh is None:
            raise MeshUnknownError("the mesh is not read yet")
        if not mesh.has_proxy(name.uuid, identity=name.identity):
            raise NotAdmittedError(f"no pod of the mesh has the proxy {name.uuid} with service account {name.identity}")

    def _observe(self, event: Event, /, *, type_url: str = "", seconds: float = 0.0) -> None:
        self._metrics.count(event.value, type_url=type_url, seconds=seconds)
        if event in (Event.CONNECTED, Event.RECONNECTED, Event.DISCONNECTED, Event.CAPPED):
            # The stream is counted only after this event has been handled.
            asyncio.get_running_loop().call_soon(self._update_judge_if_full_changed)

    def _update_judge_if_full_changed(self) -> None:
        if self._ads.full != self._was_full:
            self._update_judge()

    def _issue(self, name: str, validity: timedelta) -> Certificate:
        self._metrics.issued.inc()
        return self._trust.value.signer.issue(name, validity=validity)

    def _issue_workload(self, name: str, validity: timedelta) -> Certificate:
        self._metrics.issued.inc()
        return self._trust.value.signer.issue_reproducibly(name, validity=validity)
