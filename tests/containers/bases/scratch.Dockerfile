# Nothing but busybox: no Python, no C library, no shell where one is looked for.
FROM debian:bookworm-slim AS source
RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends busybox-static >/dev/null
FROM scratch
COPY --from=source /bin/busybox /bin/busybox
