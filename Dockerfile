# syntax=docker/dockerfile:1
# The service in an image: `docker build -t tidecast .`

FROM rust:1.95-slim-bookworm AS build
# librdkafka and zstd are compiled from C.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ make cmake pkg-config libssl-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The caches keep a rebuild to what has changed.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --package tidecast-cli --bin tidecast \
    && cp target/release/tidecast /usr/local/bin/tidecast

FROM debian:bookworm-slim
# Certificates are for brokers that speak TLS; OpenSSL is linked.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --uid 10001 tidecast \
    && install -d -o tidecast /var/lib/tidecast
COPY --from=build /usr/local/bin/tidecast /usr/local/bin/tidecast
COPY LICENSE NOTICE /usr/share/doc/tidecast/
COPY crates/moirai/models/tidecast-moirai-moe-tiny/*.md /usr/share/doc/tidecast/tidecast-moirai-moe-tiny/
COPY pipelines /pipelines
USER tidecast
# Snapshots of state: keep the volume over restarts.
ENV TIDECAST_STATE__URL=/var/lib/tidecast
VOLUME /var/lib/tidecast
# Inside a container the loopback address reaches nobody.
ENV TIDECAST_SERVER__LISTEN=0.0.0.0:9464
EXPOSE 9464
# SIGTERM drains; the engine kills what has not drained after pipeline.drain_timeout.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD \
    ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9464 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '200 OK' <&3"]
ENTRYPOINT ["tidecast"]
CMD ["run", "/pipelines/demo.sql"]
