# One binary on a slim Debian. The build stage needs nothing but the Rust toolchain and a C compiler, which its image has.
ARG RUST=1.95
FROM rust:${RUST}-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src ./src
RUN cargo build --release --locked --bin session-gateway

FROM debian:bookworm-slim
# For stores (rediss://) and backends (https://) with TLS, which are checked against the system's authorities.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/session-gateway /usr/local/bin/session-gateway
COPY scripts/healthcheck /usr/local/bin/session-gateway-healthcheck
RUN install -d -m 0755 /etc/session-gateway \
    && install -d -m 0700 -o 10001 -g 10001 /var/lib/session-gateway
COPY config/gateway.toml /usr/share/session-gateway/gateway.toml

# A number, so that orchestrators can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/session-gateway
VOLUME /var/lib/session-gateway
ENV SESSION_GATEWAY_CONFIG=/etc/session-gateway/gateway.toml HEALTH_PORT=9090
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["session-gateway-healthcheck"]
ENTRYPOINT ["session-gateway"]
CMD ["serve"]
