# `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# The race detector costs a factor of five to ten, and finds nothing in code that
# starts no goroutine: the words and the domain go without it. So does story, which
# builds the router it talks to with the race detector by itself. Everything else
# goes with it, so a new package does too.
QUIET_PACKAGES = ./event/... ./topic/... ./config/... ./signature/... ./handlers/... ./story/...

# A package that hangs says where it hangs after this long.
TEST_TIMEOUT ?= 45m

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

.PHONY: build
build: ## build bin/router
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/router ./cmd/router

.PHONY: run
run: build ## run the whole system; needs Go and make, nothing else
	./bin/router serve

.PHONY: demo
demo: build ## place orders at a running system and account for each of them
	./bin/router demo

.PHONY: dlq-tour
dlq-tour: build ## have some messages refused, look at the dead letters, mend the cause, redrive; ten seconds
	@go build -trimpath -o bin/dlqtour ./cmd/dlqtour
	@bin/dlqtour -router bin/router

.PHONY: check
check: ## vet, and see that everything is formatted
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	go vet ./...

# Not a part of test: building the linter takes longer than the tests.
LINTER = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: lint
lint: ## run golangci-lint; the first time, it is built
	go run $(LINTER) run

.PHONY: test
test: check kafka ## everything: all tests, on a real Postgres, the embedded broker and a real Kafka
	@set -o pipefail; \
	{ go test -json -p 2 -timeout $(TEST_TIMEOUT) $(QUIET_PACKAGES); quiet=$$?; \
	  go test -json -race -p 2 -timeout $(TEST_TIMEOUT) $$(go list ./... | grep -vxFf <(go list $(QUIET_PACKAGES))); raced=$$?; \
	  exit $$((quiet | raced)); } | go run ./cmd/testreport

.PHONY: kafka
kafka: ## bring the jars of a real Apache Kafka for the tests; needs Java 17 and Maven
	@if java -version >/dev/null 2>&1 && mvn -version >/dev/null 2>&1; then \
	  $(MAKE) --no-print-directory build/kafka/.complete; \
	elif [ "$$MILLRACE_REQUIRE_KAFKA" = 1 ]; then \
	  echo "MILLRACE_REQUIRE_KAFKA=1, but Java 17 or Maven is missing"; exit 1; \
	else \
	  echo "No Java 17 or no Maven here: the tests on a real Kafka are left out."; \
	fi

build/kafka/.complete: pom.xml
	mvn -q -B dependency:copy-dependencies
	@touch $@

# ARGS goes to the bench: make bench-quick ARGS='--only relay --output json'. Standard output has nothing
# but the figures.
ARGS ?=

.PHONY: bench
bench: bin/bench ## measure everything beside stock Watermill and pgbench; seventy to ninety minutes
	@bin/bench run $(ARGS)

.PHONY: bench-quick
bench-quick: bin/bench ## the same, smaller; less than six minutes
	@bin/bench run --quick $(ARGS)

.PHONY: bench-compare
bench-compare: bin/bench ## a quick run beside bench/REPORT.md: what got slower
	@bin/bench compare $(ARGS)

# Always built: go knows by itself whether it has to.
.PHONY: bin/bench
bin/bench:
	@go build -trimpath -o $@ ./cmd/bench

# A fuzz test's seeds run with every test; this is for the night. What it finds stays in testdata/fuzz of its package.
# Making an interesting input smaller may take no longer than 1000 tries: a minute each, as is usual, is most of a short run.
FUZZTIME ?= 10m
# Before 1.27, go may take the end of its own time for a finding: https://go.dev/issue/75804. It is fetched if need be.
FUZZ_TOOLCHAIN ?= go1.27.4

.PHONY: fuzz
fuzz: ## run each fuzz test for FUZZTIME, one after the other; three hours and more
	@set -e; for file in $$(git ls-files '*_test.go' | xargs grep -l '^func Fuzz'); do \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' $$file); do \
	    echo "== $$target of ./$$(dirname $$file)"; \
	    GOTOOLCHAIN=$(FUZZ_TOOLCHAIN) go test ./$$(dirname $$file) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1000x; \
	  done; \
	done

# Without ARGS, every scenario once; chaos --help has the rest: make chaos ARGS='--random --for 30m --seed 42'.
.PHONY: chaos
chaos: bin/chaos ## break a running system in every way, from a seed, and have verify judge it; some fifty minutes
	@bin/chaos $(ARGS)

.PHONY: chaos-quick
chaos-quick: bin/chaos ## the usual faults, one of each, with the race detector; half a minute; a part of test
	@bin/chaos --quick --seed 1 --results '' $(ARGS)

.PHONY: bin/chaos
bin/chaos:
	@go build -trimpath -o $@ ./cmd/chaos

.PHONY: generate
generate: ## write the documents that come from the code
	go test ./router ./config -run 'Fresh|Documentation' -update

.PHONY: clean
clean: ## remove what was built; .millrace, with its orders, stays
	rm -rf bin build
