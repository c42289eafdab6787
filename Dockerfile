# clari-lake alone, without a shell, as a user without rights.
#
#     docker build -t clari-lake .
#     docker run --rm -v "$PWD/lake:/lake" -v "$PWD/secrets:/run/secrets:ro" \
#         -e CLARI_API_KEY_FILE=/run/secrets/clari-key \
#         -e CLARI_API_PASSWORD_FILE=/run/secrets/clari-password clari-lake export /lake
#
# A folder that is mounted at /lake must belong to user 65532.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY examples examples
COPY schemas schemas
COPY src src
COPY templates templates
COPY tests tests
RUN cargo build --release --locked --bin clari-lake

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/clari-lake /usr/local/bin/clari-lake
USER 65532:65532
WORKDIR /home/nonroot
ENTRYPOINT ["/usr/local/bin/clari-lake"]
CMD ["--help"]
