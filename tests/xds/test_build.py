import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from osm_probes.mesh.identity import SIDECAR, Identity, ProxyName
from osm_probes.mesh.mesh import Endpoint, Mesh, Protocol, Service, ServicePort
from osm_probes.mesh.policy import Permission, RequestMatch, Split
from osm_probes.mesh.settings import Settings
from osm_probes.snapshot.snapshot import CLUSTER, ENDPOINTS, LISTENER, PUSH_ORDER, ROUTES, SECRET, Snapshot
from osm_probes.xds import build
from osm_probes.xds.bootstrap import AdsTarget, build_bootstrap
from osm_probes.xds.build import SnapshotBuilder
from tests.builders import identity, mesh, secrets, service
from tests.xds.envoy_checks import decoded, validation_error, with_resources

STORE = identity("bookstore")
BUYER = identity("bookbuyer")
SECRETS = secrets()

_PORTS = st.integers(1, 5)
_ADDRESSES = st.integers(1, 20).map("10.42.0.{}".format) | st.integers(1, 9).map("fd00::{}".format)
_ALTERNATIVES = st.just(()) | st.just(("fd00::a",))
_ENDPOINTS = st.sets(st.builds(Endpoint, _ADDRESSES, _PORTS, _ALTERNATIVES), max_size=3).map(
    lambda found: tuple(sorted(found))
)
_PORTS_OF = st.lists(
    st.builds(ServicePort, _PORTS, _PORTS, st.sampled_from(Protocol), _ENDPOINTS),
    max_size=3,
    unique_by=lambda port: port.number,
).map(tuple)
_IDENTITIES = st.builds(Identity, st.sampled_from("ab"), st.sampled_from(["x", "y.z"]))
_SERVICES = st.lists(
    st.builds(
        Service,
        st.sampled_from("ab"),
        st.sampled_from(["one", "two", "three"]),
        _PORTS_OF,
        addresses=st.sets(_ADDRESSES, max_size=2).map(lambda found: tuple(sorted(found))),
        identities=st.sets(_IDENTITIES, max_size=2).map(lambda found: tuple(sorted(found))),
    ),
    max_size=5,
    unique_by=lambda service: (service.namespace, service.name),
)
_PATTERNS = st.sampled_from(["", ".*", "/a/[0-9]{1,3}", "^(.*?;)?(b)(;.*)?$"])
_REQUESTS = st.builds(
    RequestMatch,
    _PATTERNS,
    st.sampled_from([(), ("GET",), ("GET", "POST")]),
    st.sampled_from([(), (("x-a", "1"),), ((":authority", "one"), ("x-a", ".*"))]),
)
_PERMISSIONS = st.lists(
    st.builds(
        Permission,
        st.sampled_from(["a/1", "a/2", "b/1"]),
        destination=_IDENTITIES,
        sources=st.sets(_IDENTITIES, min_size=1, max_size=3).map(lambda found: tuple(sorted(found))),
        requests=st.sets(_REQUESTS, max_size=3).map(lambda found: tuple(sorted(found))),
        connections=st.booleans(),
        ports=st.sets(_PORTS, max_size=2).map(lambda found: tuple(sorted(found))),
    ),
    max_size=3,
    unique_by=lambda permission: permission.name,
).map(lambda found: tuple(sorted(found)))
_BACKENDS = st.dictionaries(st.sampled_from(["one", "two", "three"]), st.integers(1, 9), min_size=1)
_SPLITS = st.lists(
    st.builds(
        Split,
        st.sampled_from("ab"),
        st.sampled_from(["one", "two"]),
        _BACKENDS.map(lambda found: tuple(sorted(found.items()))),
    ),
    max_size=2,
    unique_by=lambda split: (split.namespace, split.service),
).map(lambda found: tuple(sorted(found)))
MESHES = st.builds(
    Mesh,
    services=_SERVICES.map(lambda found: tuple(sorted(found, key=lambda service: (service.namespace, service.name)))),
    settings=st.builds(Settings, permissive=st.booleans(), egress=st.booleans()),
    permissions=_PERMISSIONS,
    splits=_SPLITS,
)


def build_snapshot(source: Mesh, identity: Identity = BUYER) -> Snapshot:
    return SnapshotBuilder("cluster.local").build(source, identity, secrets=SECRETS)


def names(snapshot: Snapshot, type_url: str) -> list[str]:
    return list(snapshot.sets[type_url].by_name)


def find(messages: list[Any], name: str) -> Any:
    """The only message with this name."""
    (message,) = (candidate for candidate in messages if candidate.name == name)
    return message


def versions(snapshot: Snapshot) -> dict[str, str]:
    return {url: snapshot.sets[url].version for url in PUSH_ORDER}


def field_values(message: Any, field: str) -> Iterator[str]:
    """The values of all fields with this name in a message, also inside Any."""
    for descriptor, value in message.ListFields():
        values = value if descriptor.is_repeated else [value]
        if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
            values = list(value.values())
        for item in values:
            if descriptor.name == field:
                yield item if isinstance(item, str) else item.name
            if descriptor.message_type is not None and hasattr(item, "ListFields"):
                yield from field_values(item, field)
                if item.DESCRIPTOR.full_name == "google.protobuf.Any":
                    yield from field_values(unpacked(item), field)


def unpacked(packed: Any) -> Any:
    name = packed.type_url.rpartition("/")[2]
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name)).FromString(
        packed.value
    )


@given(MESHES, _IDENTITIES)
def test_a_snapshot_contains_all_resources_that_it_refers_to(source: Mesh, whose: Identity) -> None:
    snapshot = build_snapshot(source, whose)
    clusters, listeners = decoded(snapshot, CLUSTER), decoded(snapshot, LISTENER)
    with_endpoints = [cluster.name for cluster in clusters if cluster.HasField("eds_cluster_config")]
    assert sorted(with_endpoints) == names(snapshot, ENDPOINTS)
    routes = {name for listener in listeners for name in field_values(listener, "route_config_name")}
    assert routes == set(names(snapshot, ROUTES))
    referenced = {
        name
        for message in (*clusters, *listeners)
        for field in ("tls_certificate_sds_secret_configs", "validation_context_sds_secret_config")
        for name in field_values(message, field)
    }
    assert referenced <= set(names(snapshot, SECRET))
    callers = (*listeners, *decoded(snapshot, ROUTES))
    called = {name for message in callers for field in ("cluster", "clusters") for name in field_values(message, field)}
    assert called <= set(names(snapshot, CLUSTER))


@given(MESHES, _IDENTITIES)
def test_no_two_filter_chains_of_a_listener_match_the_same_connection(source: Mesh, whose: Identity) -> None:
    for listener in decoded(build_snapshot(source, whose), LISTENER):
        matches = [
            (chain.filter_chain_match.destination_port.value, address.address_prefix, name)
            for chain in listener.filter_chains
            for address in (*chain.filter_chain_match.prefix_ranges,) or (chain.filter_chain_match.prefix_ranges.add(),)
            for name in (*chain.filter_chain_match.server_names,) or ("",)
        ]
        assert len(matches) == len(set(matches))


def test_a_mesh_that_cannot_be_built_fails_for_every_identity() -> None:
    builder = SnapshotBuilder("cluster.local")
    before, third = mesh(service()), identity("third")
    good = builder.build(before, BUYER, secrets=SECRETS)
    invalid = ServicePort(81, 14001, Protocol.HTTP, (Endpoint("10.42.0.11", 2**40),))
    broken = mesh(replace(service(), ports=(*service().ports, invalid)))
    for whose in (BUYER, third):
        with pytest.raises(ValueError, match="out of range"):
            builder.build(broken, whose, secrets=SECRETS)
    assert versions(builder.build(before, BUYER, secrets=SECRETS)) == versions(good)


@given(MESHES, MESHES, _IDENTITIES)
def test_cached_resources_give_the_same_snapshot(before: Mesh, after: Mesh, whose: Identity) -> None:
    builder = SnapshotBuilder("cluster.local")
    for source in (before, after, before):
        assert versions(builder.build(source, whose, secrets=SECRETS)) == versions(build_snapshot(source, whose))


@pytest.mark.envoy
@settings(max_examples=15)
@given(MESHES, _IDENTITIES)
def test_envoy_accepts_every_snapshot(
    envoy: Path, tmp_path_factory: pytest.TempPathFactory, source: Mesh, whose: Identity
) -> None:
    proxy = ProxyName("00000000-0000-0000-0000-000000000001", SIDECAR, whose)
    start = build_bootstrap(
        proxy, trust_domain="cluster.local", ads=AdsTarget("127.0.0.1", 15128, "osm-controller"), secrets=SECRETS
    )
    folder = tmp_path_factory.mktemp("envoy")
    assert validation_error(envoy, with_resources(start, build_snapshot(source, whose)), folder=folder) == ""


def many(count: int, *, moved: int = -1) -> Mesh:
    """A mesh of this many services. moved: the index of one whose endpoint has moved."""
    made = []
    for index in range(count):
        one = service(f"service-{index}", pods=2)
        if index == moved:
            ports = (replace(one.ports[0], endpoints=(Endpoint("10.42.9.9", 14001),)),)
            one = replace(one, ports=ports)
        made.append(replace(one, addresses=(f"10.96.{index // 250}.{index % 250 + 1}",)))
    return mesh(*made)


def test_a_moved_endpoint_builds_one_assignment_for_all_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in (
        "load_assignment_resource",
        "upstream_cluster",
        "outbound_filter_chains",
        "outbound_virtual_host",
        "outbound_validation_secret",
    ):
        monkeypatch.setattr(build, name, counting(name, calls))
    builder = SnapshotBuilder("cluster.local")
    for whose in (BUYER, STORE):
        builder.build(many(200), whose, secrets=SECRETS)
    calls.clear()
    moved = many(200, moved=7)
    for whose in (BUYER, STORE):
        builder.build(moved, whose, secrets=SECRETS)
    assert calls == ["load_assignment_resource"]


def counting(name: str, calls: list[str]) -> Any:
    real = getattr(build, name)

    def count(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return real(*args, **kwargs)

    return count


def test_a_moved_endpoint_changes_only_the_assignments() -> None:
    before, after = versions(build_snapshot(many(5))), versions(build_snapshot(many(5, moved=2)))
    assert [url for url in PUSH_ORDER if before[url] != after[url]] == [ENDPOINTS]


def test_a_renewed_certificate_changes_only_the_secrets() -> None:
    builder = SnapshotBuilder("cluster.local")
    environment = mesh(service())
    before, after = (versions(builder.build(environment, STORE, secrets=material)) for material in (SECRETS, secrets()))
    assert [url for url in PUSH_ORDER if before[url] != after[url]] == [SECRET]


def test_a_changed_cluster_gets_its_endpoints_again() -> None:
    one = service()
    other = replace(one, ports=(replace(one.ports[0], protocol=Protocol.TCP),))
    before, after = (
        build_snapshot(mesh(variant)).sets[ENDPOINTS].by_name["bookstore/bookstore|80"] for variant in (one, other)
    )
    assert before.body == after.body
    assert before.version != after.version


def test_without_permissive_mode_and_permissions_nothing_may_be_called() -> None:
    for whose in (BUYER, STORE):
        snapshot = build_snapshot(restricted(service()), whose)
        assert "outbound-listener" not in names(snapshot, LISTENER)
        assert "bookstore/bookstore|80" not in names(snapshot, CLUSTER)
        assert names(snapshot, ENDPOINTS) == []


def restricted(*services: Service, permissions: tuple[Permission, ...] = (), splits: tuple[Split, ...] = ()) -> Mesh:
    """A mesh without permissive mode, with these permissions."""
    settings = Settings(permissive=False)
    return replace(mesh(*services), settings=settings, permissions=permissions, splits=splits)


def permission(**rest: Any) -> Permission:
    return Permission("bookstore/buy", destination=STORE, sources=(BUYER,), **rest)


def route_rbac(snapshot: Snapshot) -> Any:
    """The RBAC of the only inbound route."""
    (routes,) = (message for message in decoded(snapshot, ROUTES) if message.name.startswith("rds-inbound"))
    (route,) = routes.virtual_hosts[0].routes
    return unpacked(route.typed_per_filter_config["envoy.filters.http.rbac"])


def accepted_callers(snapshot: Snapshot) -> list[str]:
    """The names that the only TCP destination accepts; empty: any certificate of the mesh."""
    (secret,) = (message for message in decoded(snapshot, SECRET) if message.name.endswith("|14001"))
    return [matcher.matcher.exact for matcher in secret.validation_context.match_typed_subject_alt_names]


# A changed listener would drain its connections. An unchanged one keeps them, and new rules apply to their requests.
@pytest.mark.parametrize("protocol", Protocol)
def test_no_policy_changes_the_inbound_listener(protocol: Protocol) -> None:
    one = service(protocol=protocol)
    allowed = permission(requests=(RequestMatch(),), connections=True)
    meshes = (mesh(one), restricted(one), restricted(one, permissions=(allowed,)))
    assert (
        len({build_snapshot(source, STORE).sets[LISTENER].by_name["inbound-listener"].body for source in meshes}) == 1
    )


@pytest.mark.parametrize(
    ("given", "protocol", "callable_"),
    [
        (permission(requests=(RequestMatch("/books"),)), Protocol.HTTP, True),
        (permission(connections=True), Protocol.TCP, True),
        (permission(requests=(RequestMatch(),)), Protocol.TCP, False),
        (permission(connections=True), Protocol.HTTP, False),
        (permission(requests=(RequestMatch(),), ports=(14001,)), Protocol.HTTP, True),
        (permission(requests=(RequestMatch(),), ports=(80,)), Protocol.HTTP, False),
        (permission(connections=True, ports=(80, 14001)), Protocol.TCP, True),
        (permission(connections=True, ports=(80,)), Protocol.TCP, False),
        (replace(permission(connections=True), destination=identity("other")), Protocol.TCP, False),
        (replace(permission(connections=True), sources=(identity("other"),)), Protocol.TCP, False),
    ],
)
def test_a_caller_gets_only_the_services_that_a_permission_covers(
    given: Permission, protocol: Protocol, *, callable_: bool
) -> None:
    snapshot = build_snapshot(restricted(service(protocol=protocol), permissions=(given,)), BUYER)
    found = ["bookstore/bookstore|80"] if callable_ else []
    assert names(snapshot, CLUSTER) == [*found, "envoy-metrics-cluster"]
    assert names(snapshot, ENDPOINTS) == found
    assert ("outbound-listener" in names(snapshot, LISTENER)) is callable_
    assert ("root-cert-for-mtls-outbound:bookstore/bookstore" in names(snapshot, SECRET)) is callable_


def test_a_route_accepts_all_requests_in_permissive_mode_and_none_without_a_permission() -> None:
    assert not route_rbac(build_snapshot(mesh(service()), STORE)).HasField("rbac")
    nothing = route_rbac(build_snapshot(restricted(service()), STORE)).rbac
    # Without this field Envoy would accept every request.
    assert nothing.HasField("rules")
    assert nothing.rules.action == nothing.rules.ALLOW
    assert not nothing.rules.policies


def test_a_route_accepts_what_its_permissions_cover() -> None:
    some_ports = (replace(permission(requests=(RequestMatch(),), ports=(80,)), name="bookstore/elsewhere"),)
    snapshot = build_snapshot(
        restricted(service(), permissions=(permission(requests=(RequestMatch("/b", ("GET",)),)), *some_ports)), STORE
    )
    assert dict(route_rbac(snapshot).rbac.rules.policies).keys() == {"bookstore/buy"}
    (principal,) = route_rbac(snapshot).rbac.rules.policies["bookstore/buy"].principals
    assert principal.authenticated.principal_name.exact == "bookbuyer.bookbuyer.cluster.local"


def test_a_tcp_destination_accepts_the_callers_that_a_permission_covers() -> None:
    one = service(protocol=Protocol.TCP)
    assert accepted_callers(build_snapshot(mesh(one), STORE)) == []
    assert accepted_callers(build_snapshot(restricted(one), STORE)) == ["nobody.invalid"]
    covered = permission(connections=True)
    other = replace(permission(connections=True, ports=(80,)), sources=(identity("other"),))
    assert accepted_callers(build_snapshot(restricted(one, permissions=(covered, other)), STORE)) == [
        "bookbuyer.bookbuyer.cluster.local"
    ]


def test_a_tcp_destination_has_its_own_validation_context() -> None:
    listener = find(decoded(build_snapshot(mesh(service(protocol=Protocol.TCP)), STORE), LISTENER), "inbound-listener")
    assert list(field_values(listener, "validation_context_sds_secret_config")) == [
        "root-cert-for-mtls-inbound:bookstore/bookstore|14001"
    ]


def test_in_permissive_mode_a_changed_permission_builds_nothing() -> None:
    builder, environment = SnapshotBuilder("cluster.local"), mesh(service())
    before = builder.build(environment, STORE, secrets=SECRETS)
    after = builder.build(replace(environment, permissions=(permission(connections=True),)), STORE, secrets=SECRETS)
    assert all(before.sets[url] is after.sets[url] for url in (CLUSTER, LISTENER, ROUTES, SECRET))


def test_a_changed_permission_builds_only_the_route_that_it_affects(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in (
        "upstream_cluster",
        "outbound_filter_chains",
        "outbound_virtual_host",
        "inbound_filter_chain",
        "inbound_route_configuration",
    ):
        monkeypatch.setattr(build, name, counting(name, calls))
    builder, environment = SnapshotBuilder("cluster.local"), many(200)
    permissions = tuple(
        Permission(f"a/{index}", identity(f"service-{index}"), (BUYER,), (RequestMatch("/books"),))
        for index in range(200)
    )
    before = replace(environment, settings=Settings(permissive=False), permissions=permissions)
    for whose in (BUYER, identity("service-7")):
        builder.build(before, whose, secrets=SECRETS)
    calls.clear()
    changed = (*permissions[:7], replace(permissions[7], requests=(RequestMatch("/films"),)), *permissions[8:])
    after = replace(before, permissions=changed)
    for whose in (BUYER, identity("service-7")):
        builder.build(after, whose, secrets=SECRETS)
    assert calls == ["inbound_route_configuration"]


def variant(name: str, address: str, *, protocol: Protocol = Protocol.HTTP, number: int = 80) -> Service:
    """A service in the namespace bookstore whose identity has the same name."""
    one = service("bookstore", number=number, protocol=protocol)
    return replace(one, name=name, addresses=(address,), identities=(Identity("bookstore", name),))


V1, V2 = variant("v1", "10.96.0.21"), variant("v2", "10.96.0.22")
SPLIT = Split("bookstore", "bookstore", (("v1", 90), ("v2", 10)))
CLUSTER_OF = "bookstore/{}|80".format


def weights(snapshot: Snapshot) -> dict[str, int]:
    """The clusters of requests to the bookstore, with their weights."""
    routes = find(decoded(snapshot, ROUTES), "rds-outbound.80")
    host = find(routes.virtual_hosts, CLUSTER_OF("bookstore"))
    action = host.routes[0].route
    if action.cluster:
        return {action.cluster: 1}
    return {cluster.name: cluster.weight.value for cluster in action.weighted_clusters.clusters}


@pytest.mark.parametrize(
    ("services", "found"),
    [
        pytest.param((V1, V2), {CLUSTER_OF("v1"): 90, CLUSTER_OF("v2"): 10}, id="by weight"),
        pytest.param((V1,), {CLUSTER_OF("v1"): 1}, id="without a backend that does not exist"),
        pytest.param((), {CLUSTER_OF("bookstore"): 1}, id="to the root, if no backend exists"),
        pytest.param(
            (V1, variant("v2", "10.96.0.22", number=81)), {CLUSTER_OF("v1"): 1}, id="not to a backend without the port"
        ),
        pytest.param(
            (V1, variant("v2", "10.96.0.22", protocol=Protocol.TCP)),
            {CLUSTER_OF("v1"): 1},
            id="not to a backend with another protocol",
        ),
        pytest.param((V1, replace(V2, addresses=())), {CLUSTER_OF("v1"): 1}, id="not to a headless backend"),
    ],
)
def test_the_traffic_of_a_split_service_goes_to_its_backends(
    services: tuple[Service, ...], found: dict[str, int]
) -> None:
    assert weights(build_snapshot(replace(mesh(service(), *services), splits=(SPLIT,)))) == found


def test_a_service_may_be_a_backend_of_itself() -> None:
    both = Split("bookstore", "bookstore", (("bookstore", 3), ("v1", 1)))
    assert weights(build_snapshot(replace(mesh(service(), V1), splits=(both,)))) == {
        CLUSTER_OF("bookstore"): 3,
        CLUSTER_OF("v1"): 1,
    }


def test_the_split_of_a_tcp_service_is_in_its_filter_chain() -> None:
    tcp = (variant(name, f"10.96.0.2{n}", protocol=Protocol.TCP) for n, name in enumerate(("v1", "v2")))
    snapshot = build_snapshot(replace(mesh(service(protocol=Protocol.TCP), *tcp), splits=(SPLIT,)))
    listener = find(decoded(snapshot, LISTENER), "outbound-listener")
    chain = find(listener.filter_chains, "bookstore/bookstore|80 at 80")
    proxy = unpacked(chain.filters[0].typed_config)
    assert {cluster.name: cluster.weight for cluster in proxy.weighted_clusters.clusters} == {
        CLUSTER_OF("v1"): 90,
        CLUSTER_OF("v2"): 10,
    }


def test_a_split_of_requests_changes_no_listener() -> None:
    environment = mesh(service(), V1, V2)
    before, after = (
        versions(build_snapshot(environment)),
        versions(build_snapshot(replace(environment, splits=(SPLIT,)))),
    )
    assert [url for url in PUSH_ORDER if before[url] != after[url]] == [ROUTES]


def may_call(*accounts: str) -> tuple[Permission, ...]:
    return tuple(
        Permission(f"bookstore/{account}", Identity("bookstore", account), (BUYER,), (RequestMatch(),))
        for account in accounts
    )


@pytest.mark.parametrize(
    ("accounts", "found", "clusters"),
    [
        (("v1", "v2"), {CLUSTER_OF("v1"): 90, CLUSTER_OF("v2"): 10}, ["v1", "v2"]),
        (("bookstore", "v1"), {CLUSTER_OF("v1"): 1}, ["bookstore", "v1"]),
        (("v2",), {CLUSTER_OF("v2"): 1}, ["v2"]),
        (("bookstore",), {CLUSTER_OF("bookstore"): 1}, ["bookstore"]),
    ],
)
def test_split_traffic_goes_only_to_backends_that_the_caller_may_call(
    accounts: tuple[str, ...], found: dict[str, int], clusters: list[str]
) -> None:
    snapshot = build_snapshot(restricted(service(), V1, V2, permissions=may_call(*accounts), splits=(SPLIT,)))
    assert weights(snapshot) == found
    assert names(snapshot, CLUSTER) == [*map(CLUSTER_OF, clusters), "envoy-metrics-cluster"]


def test_a_split_service_without_a_callable_backend_has_no_route() -> None:
    assert names(build_snapshot(restricted(service(), V1, V2, splits=(SPLIT,))), ROUTES) == []


def test_only_egress_permits_traffic_out_of_the_mesh() -> None:
    for egress in (False, True):
        snapshot = build_snapshot(replace(mesh(service()), settings=Settings(egress=egress)))
        listener = find(decoded(snapshot, LISTENER), "outbound-listener")
        assert listener.HasField("default_filter_chain") is egress
        assert ("passthrough-outbound" in names(snapshot, CLUSTER)) is egress


def test_a_service_must_have_a_certificate_of_its_own_identities() -> None:
    secret = decoded(build_snapshot(mesh(service())), SECRET)[1]
    assert secret.name == "root-cert-for-mtls-outbound:bookstore/bookstore"
    matchers = secret.validation_context.match_typed_subject_alt_names
    assert [matcher.matcher.exact for matcher in matchers] == ["bookstore.bookstore.cluster.local"]


def test_no_certificate_is_accepted_from_a_service_without_identities() -> None:
    secret = decoded(build_snapshot(mesh(replace(service(), identities=()))), SECRET)[1]
    assert [matcher.matcher.exact for matcher in secret.validation_context.match_typed_subject_alt_names] == [
        "nobody.invalid"
    ]


def test_two_services_with_the_same_address_get_one_filter_chain() -> None:
    snapshot = build_snapshot(mesh(service("a"), service("b")))
    listener = find(decoded(snapshot, LISTENER), "outbound-listener")
    assert [chain.name for chain in listener.filter_chains] == ["a/a|80 at 80"]


def test_a_headless_service_is_called_at_the_pods_own_address() -> None:
    headless = replace(service(pods=2), addresses=())
    snapshot = build_snapshot(mesh(headless))
    cluster = find(decoded(snapshot, CLUSTER), "bookstore/bookstore|80")
    assert cluster.type == cluster.ORIGINAL_DST
    listener = find(decoded(snapshot, LISTENER), "outbound-listener")
    (chain,) = listener.filter_chains
    assert [address.address_prefix for address in chain.filter_chain_match.prefix_ranges] == [
        "10.42.0.11",
        "10.42.0.12",
    ]
    assert chain.filter_chain_match.destination_port.value == 14001


@pytest.mark.parametrize(("caller", "short"), [(STORE, True), (BUYER, False)])
def test_a_short_name_is_a_service_of_the_callers_namespace(caller: Identity, *, short: bool) -> None:
    routes = find(decoded(build_snapshot(mesh(service()), caller), ROUTES), "rds-outbound.80")
    bare = ["bookstore"] if short else []
    assert list(routes.virtual_hosts[0].domains) == [
        *bare,
        "bookstore.bookstore",
        "bookstore.bookstore.svc",
        "bookstore.bookstore.svc.cluster",
        "bookstore.bookstore.svc.cluster.local",
        "10.96.0.11",
    ]


def test_the_order_of_services_does_not_matter() -> None:
    services = [replace(service(f"s{index}"), addresses=(f"10.96.0.{index}",)) for index in range(9)]
    shuffled = random.Random(1).sample(services, len(services))
    assert versions(build_snapshot(mesh(*services))) == versions(build_snapshot(mesh(*shuffled)))


@pytest.mark.parametrize("addresses", [("10.42.0.11", "fd00::11"), ("fd00::11",)])
def test_listeners_have_ipv6_if_a_pod_has_it_even_if_no_service_has_it(addresses: tuple[str, ...]) -> None:
    before = mesh(service())
    ((key, proxy),) = before.proxies.items()
    after = replace(before, proxies={key: replace(proxy, addresses=addresses)})
    for state, expected in ((before, []), (after, ["::"])):
        for listener in decoded(SnapshotBuilder("cluster.local").build(state, STORE, secrets=SECRETS), LISTENER):
            assert listener.address.socket_address.address == "0.0.0.0"
            found = [address.address.socket_address.address for address in listener.additional_addresses]
            assert found == expected


def test_with_ipv6_the_application_may_listen_on_ipv6_only() -> None:
    snapshot = SnapshotBuilder("cluster.local").build(
        mesh(variant("v1", "fd00::21")), Identity("bookstore", "v1"), secrets=SECRETS
    )
    local = find(decoded(snapshot, CLUSTER), "bookstore/v1|14001|local")
    endpoint = local.load_assignment.endpoints[0].lb_endpoints[0].endpoint
    assert endpoint.address.socket_address.address == "127.0.0.1"
    assert [found.address.socket_address.address for found in endpoint.additional_addresses] == ["::1"]


def test_a_headless_service_is_called_at_all_addresses_of_a_dual_stack_pod() -> None:
    endpoints = (Endpoint("10.42.0.11", 14001, ("fd00::11",)),)
    one = replace(service(), addresses=(), ports=(ServicePort(80, 14001, Protocol.HTTP, endpoints),))
    (chain,) = find(decoded(build_snapshot(mesh(one)), LISTENER), "outbound-listener").filter_chains
    ranges = [(found.address_prefix, found.prefix_len.value) for found in chain.filter_chain_match.prefix_ranges]
    assert ranges == [("10.42.0.11", 32), ("fd00::11", 128)]


def test_both_addresses_of_a_pod_are_one_endpoint_of_its_cluster() -> None:
    endpoints = (Endpoint("10.42.0.11", 14001, ("fd00::11",)),)
    one = replace(service(), ports=(ServicePort(80, 14001, Protocol.HTTP, endpoints),))
    snapshot = SnapshotBuilder("cluster.local").build(mesh(one), BUYER, secrets=SECRETS)
    (assignment,) = decoded(snapshot, ENDPOINTS)
    (found,) = assignment.endpoints[0].lb_endpoints
    assert found.endpoint.address.socket_address.address == "10.42.0.11"
    assert [other.address.socket_address.address for other in found.endpoint.additional_addresses] == ["fd00::11"]
