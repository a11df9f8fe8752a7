# syntax=docker/dockerfile:1.7
# fleetscan's image: the program, its certificate authorities, the list of what it is made of, and nothing else: no shell,
# no package manager. Pin both images by digest in your own builds.
ARG RUST=1.95.0

FROM rust:${RUST}-bookworm AS build
WORKDIR /src
# What makes the lists, at fixed versions.
ARG CARGO_AUDITABLE=0.7.7
ARG CARGO_CYCLONEDX=0.5.9
ARG CARGO_ABOUT=0.9.3
RUN cargo install --locked cargo-auditable@${CARGO_AUDITABLE} \
 && cargo install --locked cargo-cyclonedx@${CARGO_CYCLONEDX} \
 && cargo install --locked cargo-about@${CARGO_ABOUT} --features cli
COPY . .
# Linked with glibc, as distroless/cc has it. `auditable` puts the list of crates into the program itself, for scanners.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo auditable build --locked --release --package fleetscan-cli \
 && install -D -m 0755 target/release/fleetscan /image/usr/local/bin/fleetscan
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo cyclonedx --manifest-path cli/Cargo.toml --format json --override-filename fleetscan.cdx \
 && cargo about generate --locked --fail --manifest-path cli/Cargo.toml --format json --output-file licences.json \
 && install -D -m 0644 cli/fleetscan.cdx.json /image/usr/share/doc/fleetscan/sbom.cdx.json \
 && install -D -m 0644 licences.json /image/usr/share/doc/fleetscan/licences.json \
 && install -D -m 0644 LICENSE /image/usr/share/doc/fleetscan/LICENSE \
 && install -d -m 0750 -o 65532 -g 65532 /image/var/lib/fleetscan

FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fleetscan" \
      org.opencontainers.image.description="Inventories the configuration metadata of many AWS accounts, read-only" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /var/lib/fleetscan
# Only the folder of results is written to: run it with a read-only root.
VOLUME /var/lib/fleetscan
EXPOSE 9464
# Where FLEETSCAN_LISTEN says; the program is its own health check.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 CMD ["/usr/local/bin/fleetscan", "health"]
ENTRYPOINT ["/usr/local/bin/fleetscan"]
