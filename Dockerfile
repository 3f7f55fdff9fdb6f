# One image for both programs, /osm-controller and /osm-injector. `make image` builds it and its SBOM.
#
# Optional build secrets, which do not become part of the image:
#   pip_conf    pip's configuration, such as a private package index
#   ca_bundle   CA certificates (PEM) to trust while packages are installed
ARG BASE_IMAGE=python:3.13-slim

# The base image can be set with --build-arg; the default is pinned to a release.
# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/build.lock requirements/runtime.lock requirements/
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/run/ca_bundle.pem \
    set -eu; \
    if [ -s /run/ca_bundle.pem ]; then export PIP_CERT=/run/ca_bundle.pem; fi; \
    python3 -m venv /opt/build; \
    /opt/build/bin/python -m pip install --quiet --require-hashes --no-deps --only-binary=:all: -r requirements/build.lock; \
    python3 -m venv --without-pip /opt/osm; \
    /opt/build/bin/python -m pip --python /opt/osm/bin/python install --quiet --require-hashes --no-deps --no-compile \
      --only-binary=:all: -r requirements/runtime.lock; \
    rm /opt/osm/bin/[Aa]ctivate*; \
    /opt/osm/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/osm/lib
COPY pyproject.toml README.md LICENSE ./
COPY osm_probes osm_probes
RUN set -eu; \
    /opt/build/bin/python -m hatchling build --target wheel --directory /dist; \
    /opt/build/bin/python -m pip --python /opt/osm/bin/python install --quiet --no-deps --no-compile --no-index /dist/*.whl; \
    /opt/osm/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/osm/lib/python3*/site-packages/osm_probes
COPY images/sbom.py images/
RUN /opt/osm/bin/python images/sbom.py osm-probes >/sbom.json

FROM scratch AS sbom
COPY --from=build /sbom.json /osm-probes.cdx.json

# hadolint ignore=DL3006
FROM ${BASE_IMAGE}
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="osm-probes" \
      org.opencontainers.image.description="A control plane for an Envoy service mesh whose health probes tell the truth" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
ENV PATH=/opt/osm/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/osm /opt/osm
RUN ln -s /opt/osm/bin/osm-controller /opt/osm/bin/osm-injector /
USER 65532:65532
EXPOSE 9090 9091 15128
# For use without Kubernetes: the same request as the chart's liveness probe of osm-controller.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=6 CMD ["/opt/osm/bin/python", "-I", "-c", \
  "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9091, timeout=4); c.request('GET', '/health/alive'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["/osm-controller", "--help"]
