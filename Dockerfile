# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches stay on the builder, so a change of one source file does not build the dependencies anew.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin callboard \
 && install -D target/release/callboard /out/callboard

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin callboard
COPY --from=build /out/callboard /usr/local/bin/callboard
COPY conf/container.yaml /etc/callboard/proxy.yaml
# Who is registered, and the history. A new volume takes its owner from the folder it is put on.
RUN install -d -o callboard /data
VOLUME /data
USER callboard
# 8080: clients' requests. 8500: services sign in; it is not for the outside (see the file above).
EXPOSE 8080 8500
# bash can ask by itself: the image needs no HTTP client.
HEALTHCHECK --interval=5s --timeout=2s --start-period=5s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8500 && printf 'GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r -u 3 _ status _ && [ \"$status\" = 200 ]"]
# SIGTERM, which `docker stop` sends, drains: callboard finishes what is in flight and ends.
ENTRYPOINT ["callboard"]
CMD ["run", "--config", "/etc/callboard/proxy.yaml"]
