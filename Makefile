# Everything a contributor runs. `make` alone lists the targets.

GO       ?= go
FUZZTIME ?= 10s
ROUNDS   ?= 100
MINUTES  ?= 15
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -X main.version=$(VERSION)

# Tests that meet a real process: the race detector would watch the test alone,
# and they take minutes, so they run without it.
SLOW := ./test/conformance ./test/chaos
empty :=
SLOW_PATTERN := /($(subst $(empty) $(empty),|,$(SLOW:./%=%)))$$

CHAOS_NODES = PORCHLIGHT_CHAOS_CLOCK=1 PORCHLIGHT_CHAOS_MINUTES=$(MINUTES) $(GO) test -count=1 -timeout 0 -v -run '^TestNodes(OverServers)?$$' ./test/chaos

BUF := $(GO) tool -modfile=tools/buf/go.mod buf

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: dev
dev: build ## run one node with development keys; prints addresses, tokens and lines to try
	@./bin/porchlight dev $(ARGS)

.PHONY: build
build: ## build bin/porchlight
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/porchlight ./cmd/porchlight

.PHONY: test
test: check test-tools test-short test-slow ## check, then all tests; installs what they need

.PHONY: check
check: ## formatting, vet, and the shape of the house
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted (run gofmt -w .):"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) test ./internal/archtest

.PHONY: test-tools
test-tools: ## install what the tests need, and say what they will skip
	@GO='$(GO)' ./test/conformance/install

.PHONY: test-short
test-short: ## short tests with the race detector
	$(GO) test -race -short $$($(GO) list ./... | grep -vE '$(SLOW_PATTERN)')

.PHONY: test-slow
test-slow: ## tests against the real binary: foreign programs, and a few rounds of faults
# More at once than processors: most of them wait.
	PORCHLIGHT_REQUIRE="$$(./test/conformance/install --list)" $(GO) test -count=1 -short -parallel 3 -timeout 8m $(SLOW)

.PHONY: generate
generate: ## make api/gen from the .proto files (the first run builds buf: a minute or two)
	$(BUF) generate

.PHONY: check-generate
check-generate: ## compare api/gen with what generate would write
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(BUF) generate -o "$$fresh" && \
		{ diff -r api/gen "$$fresh/api/gen" || { echo "api/gen is not what api/ says: run make generate"; exit 1; }; }

.PHONY: client-js
client-js: ## make clients/js/dist (and the demo page's copy of it) of clients/js/src
	@GO='$(GO)' ./clients/js/build

.PHONY: check-client-js
check-client-js: ## compare clients/js/dist with what client-js would write
	@GO='$(GO)' ./clients/js/build --check

.PHONY: screenshot
screenshot: build ## take docs/img/demo.png of the demo page (make test-tools first)
	node test/conformance/node/screenshot.mjs ./bin/porchlight "$$(command -v chromium || command -v chromium-browser || command -v google-chrome)" docs/img/demo.png

.PHONY: check-tidy
check-tidy: ## compare go.mod and go.sum with what the code needs
	$(GO) mod tidy -diff

.PHONY: bench
bench: build ## the standard load against a server of its own, beside the null server
	./bin/porchlight bench --self --null $(ARGS)

.PHONY: bench-hot
bench-hot: ## one benchmark per hot path (compare two runs with benchstat)
	$(GO) test -run '^$$' -bench . -benchmem $(ARGS) ./...

.PHONY: chaos
chaos: ## kill -9 and restart under load, ROUNDS=100 times, then chaos-nodes
	PORCHLIGHT_CHAOS_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 3h -v ./test/chaos
	$(MAKE) chaos-nodes

.PHONY: chaos-nodes
chaos-nodes: ## faults of 3 and of 5 nodes, as peers and over NATS servers, MINUTES=15 each
	PORCHLIGHT_CHAOS_NODES=3 $(CHAOS_NODES)
	PORCHLIGHT_CHAOS_NODES=5 $(CHAOS_NODES)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME=10s
	@GO='$(GO)' ./.ci/fuzz $(FUZZTIME)

.PHONY: clean
clean: ## remove what was built and installed here
	rm -rf bin test/conformance/node/node_modules clients/js/node_modules
