# syntax=docker/dockerfile:1

FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /router ./cmd/router

# Alpine rather than an empty image: its wget is the health check, its shell is there
# when something has to be looked at, and it brings the authorities TLS needs.
FROM alpine:3.22
COPY --from=build /router /usr/local/bin/router
# Nobody: nothing here is written to. The image has no PostgreSQL, and a container is
# no place for an embedded broker: set KAFKA_BROKERS and DATABASE_URL.
USER 65534:65534
EXPOSE 8080 8081 8082 8083 8084 8085 8086 9000
# Ready means: broker and databases answer, handlers run, the outbox is not full.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 \
    CMD wget -q -O /dev/null http://127.0.0.1:9000/readyz || exit 1
STOPSIGNAL SIGTERM
ENTRYPOINT ["router"]
CMD ["serve"]
