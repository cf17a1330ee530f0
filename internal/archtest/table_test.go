package archtest

import "slices"

// line says what one package may import of this module, in its non-test files.
type line struct {
	pkg    string   // path below the module; "." is the root
	may    []string // paths, or "…/" for everything below
	reason string
}

// leaves: everyone may lean on them.
var leaves = []string{
	"internal/presence", "internal/fault", "internal/lifecycle", "internal/wheel", "internal/outbound", "internal/localize", "internal/listen", "internal/telemetry",
}

// core is what a door may build on.
var core = []string{
	"internal/store", "internal/tracker", "internal/hub", "internal/token", "internal/roster", "internal/revoke", "internal/admit", "internal/facts", "internal/topic", "internal/mailbox",
	"internal/publisher",
}

// table is who may import whom. A package without a line is an error, and so
// is a line without its package.
var table = []line{
	// Leaves.
	{"internal/presence", nil, "the words and the rules: pure, standard library only"},
	{"internal/fault", nil, "everyone returns its errors, so it knows nobody"},
	{"internal/lifecycle", nil, "a list of functions with names"},
	{"internal/outbound", nil, "calls addresses that are not ours; what is said to them is the caller's affair"},
	{"internal/telemetry", nil, "the wall in front of the metrics library; it reads what others count through functions"},
	{"internal/wheel", nil, "deadlines by key; what they mean is the caller's affair"},

	{"internal/socket", leaves, "one WebSocket connection; knows no dialect"},

	{"internal/localize", []string{"internal/presence"}, "makes text of references, which are presence words"},
	{"internal/listen", nil, "ports and connections; what is spoken on them is a door's affair"},

	// Core.
	{"internal/store", leaves, "the durable contract speaks presence words, no engine words"},
	{"internal/tracker", with(leaves, "internal/store"), "never a door, a webhook or an engine"},
	{"internal/hub", leaves, "knows watchers and changes, no storage"},
	{"internal/cluster", with(leaves, "internal/store"), "nodes, their logs and who is lost; knows neither NATS nor the tracker nor a door"},
	{"internal/roster", with(leaves, "internal/store"), "who may watch whom; tells of changes through a listener of its own"},
	{"internal/revoke", with(leaves, "internal/store"), "from when on access tokens count; keeps a time per user"},
	{"internal/topic", with(leaves, "internal/store"), "attributes of users and who is told of them; hears of presence as a listener, knows no door"},
	{"internal/mailbox", with(leaves, "internal/store"), "messages kept until their user comes; knows no engine and no door"},
	{"internal/publisher", with(leaves, "internal/store"), "who the Mozilla interface tells of whom; a door tells them"},
	{"internal/facts", with(leaves, "internal/store"), "reads the log for webhooks and pulls: what the fold concludes; knows no engine and no door"},
	{"internal/lease", leaves, "who of several nodes does what; asks the cluster through an interface"},
	{"internal/roster/httpsource", with(leaves, "internal/roster"), "one way to ask an app's backend for lists"},
	{"internal/token", leaves, "checks who speaks; keeps nothing"},
	{"internal/admit", with(leaves, "internal/tracker", "internal/hub", "internal/token", "internal/revoke", "internal/topic"), "what the doors for end users share of the core; no dialect"},

	// Webhooks: the mechanism knows no dialect.
	{"internal/webhook", with(leaves, "internal/store", "internal/facts"), "mechanism only; formats judge"},
	{"internal/webhook/native", with(leaves, "internal/webhook"), "our own format; foreign formats live in their door"},
	{"internal/webhook/cloudevents", with(leaves, "internal/webhook", "internal/webhook/native"), "the native format in another envelope"},

	// The engine.
	{"internal/natsbus", leaves, "the wall in front of NATS"},
	{"internal/store/natsstore", with(leaves, "internal/store", "internal/natsbus"), "the only store"},

	// Doors: never another door, an engine, config or app.
	{"internal/door/isonline", with(leaves, append(core, "api/…/")...), "one dialect over the core"},
	{"internal/door/live", with(leaves, append(core, "internal/socket")...), "one dialect over the core and a socket"},
	{"internal/door/rest", with(leaves, append(core, "internal/webhook", "internal/webhook/native")...), "our own API for servers, over the core; changes are told as the native webhook tells them"},
	{"internal/door/rongcloud", with(leaves, append(core, "internal/webhook")...), "one dialect: a query over the core, and a format of webhooks"},
	{"internal/door/mozpresence", with(leaves, append(core, "internal/socket")...), "one dialect over the core and a socket"},
	{"internal/door/tencentim", with(leaves, append(core, "internal/webhook")...), "one dialect: queries and a kick over the core, and a format of webhooks"},

	{"internal/door/mozpresence/pages", with(leaves, core...), "what people see of that dialect in a browser; its sockets are the door's"},
	{"internal/door/stringee", with(leaves, append(core, "internal/socket")...), "one dialect over the core and a socket"},

	{"internal/demo", []string{"internal/presence"}, "a page, and the part of a product's backend that it needs; mounted by dev alone"},

	// What users' programs link.
	{"api/gen/isonline/v1", nil, "generated"},
	{"client", []string{"api/…/"}, "must not drag the server into users' programs"},

	// The wiring and what stands on it.
	{"internal/config", with(leaves, append(core, "internal/natsbus", "internal/store/natsstore", "internal/door/…/", "internal/webhook", "internal/webhook/…/")...),
		"composes the Config types of all, does not invent"},
	{"internal/app", []string{"internal/…/", "api/…/"}, "the one meeting point"},
	{".", with(leaves, "internal/app", "internal/config"), "the thin front for programs that embed the server"},
	{"porchlighttest", []string{".", "client", "internal/natsbus"}, "a server for users' tests, and the one line that a fake clock needs of the engine"},
	{"internal/bench", with(leaves, "client", "api/…/"), "a tool of the command line: it meets the server over the wire alone"},
	{"internal/scale", with(leaves, "internal/app", "internal/config", "internal/bench", "internal/tracker"), "the node's side of bench with several nodes: it stands in for a door, so it needs a node's tracker"},
	{"internal/receiver", nil, "the other end of a webhook for development: a check of what is sent shares no code with it"},
	{"cmd/porchlight", with(leaves, ".", "internal/config", "client", "internal/bench", "internal/scale", "internal/receiver"), "thin: flags in, one call, text out"},

	// Tests only: whatever they test.
	{"internal/archtest", nil, "reads source, imports nothing of it"},
	{"internal/natsbus/natsbustest", []string{"internal/listen"}, "real NATS servers, as processes, for tests"},
	{"internal/store/storetest", with(leaves, "internal/store"), "the contract's proof for any store"},
	{"internal/door/doortest", with(leaves, append(core, "internal/store/storetest", "internal/webhook")...), "the core of a node for the tests of doors, with an endpoint of webhooks"},
	{"internal/cluster/clustertest", with(leaves, "internal/store", "internal/cluster"), "a network with faults and a quorum, for tests of many nodes"},
	{"internal/rapidtest", nil, "a limit for each random history, of any package"},
	{"internal/listen/listentest", nil, "certificates for tests of what is spoken over TLS"},
	{"test/script", []string{"…/"}, "whole-server stories under a fake clock"},
	{"test/isolation", []string{"…/"}, "two apps on one node, and what each can tell of the other"},
	{"test/conformance", []string{"…/"}, "other people's real clients against the real binary"},
	{"test/chaos", []string{"…/"}, "faults against the real binary, and a checker of the promises"},
}

// with returns base and more in a slice of its own.
func with(base []string, more ...string) []string {
	return slices.Concat(base, more)
}

// wall keeps a library behind the packages that own it.
type wall struct {
	library string   // for the message
	imports []string // import paths; "…/" at the end for everything below
	owners  []string // packages that may import it, "…/" for everything below
	inTests []string // import paths that any test file may import all the same
	reason  string
}

// testLibraries may be imported by test files and by packages that are for
// tests only.
var testLibraries = []string{
	"testing", "testing/…/", "go.uber.org/goleak", "pgregory.net/rapid/…/", "pgregory.net/rapid",
	"github.com/google/go-cmp/…/", "github.com/tencentyun/…/", "github.com/rogpeppe/go-internal/…/", "github.com/anishathalye/porcupine",
}

var grpcOwners = []string{"internal/door/isonline", "internal/app", "client", "internal/bench", "api/gen/…/"}

// walls are checked in test files too, save in test/, where the server is met
// from outside.
var walls = []wall{
	{"NATS", []string{"github.com/nats-io/…/"},
		[]string{"internal/store/natsstore", "internal/natsbus"},
		[]string{"github.com/nats-io/nats-server/v2/server/ats"}, // its channel must be made before a bubble
		"the engine can be replaced, or upgraded, in two packages"},
	{"gRPC and Connect", []string{"google.golang.org/grpc", "google.golang.org/grpc/…/", "google.golang.org/genproto/…/", "connectrpc.com/…/"},
		grpcOwners, nil, "the core has no dialect"},
	{"protobuf", []string{"google.golang.org/protobuf/…/"},
		grpcOwners, nil, "generated types stop at the door"},
	{"WebSocket", []string{"github.com/gobwas/…/", "github.com/coder/websocket/…/", "github.com/coder/websocket", "github.com/gorilla/websocket"},
		[]string{"internal/socket", "client", "internal/bench"}, nil, "one connection type for all socket doors"},
	{"metrics", []string{"github.com/prometheus/…/"},
		[]string{"internal/telemetry"}, nil, "core packages count through a small interface"},
	{"retry and breaker", []string{"github.com/failsafe-go/…/"},
		[]string{"internal/webhook"}, nil, "one place decides what is tried again"},
	{"os/signal", []string{"os/signal"},
		[]string{"cmd/…/"},
		[]string{"os/signal"}, // a test program that plays a server's process gets signals too
		"signals belong to the process, and an embedded server is not one"},
	{"REST framework", []string{"github.com/danielgtaylor/huma/…/"},
		[]string{"internal/door/rest"}, nil, "foreign shapes are plain handlers; only our own API is described by its types"},
	{"JWT", []string{"github.com/golang-jwt/…/"},
		[]string{"internal/token"}, nil, "one place to get signatures right"},
	{"command line", []string{"github.com/alecthomas/kong", "github.com/schollz/progressbar/…/"},
		[]string{"cmd/…/", "internal/bench"}, nil, "flags end where the program begins; a bar is drawn by what makes progress"},
	{"SSRF guard", []string{"code.dny.dev/ssrf"},
		[]string{"internal/outbound"}, nil, "one place decides which addresses may be called"},
	{"YAML", []string{"github.com/goccy/go-yaml", "github.com/goccy/go-yaml/…/"},
		[]string{"internal/config"}, nil, "one reader of configuration"},
	{"environment", []string{"github.com/caarlos0/env/…/"},
		[]string{"internal/config"}, nil, "what the environment overrides is configuration"},
}

// allowance lets one finding of one rule stand, with its reason. An allowance
// that nothing needs any more is an error.
type allowance struct {
	rule   string
	where  string // file, or folder ending in "/"
	reason string
}

var allowances = []allowance{
	{"no fresh context", "internal/store/commit_loop.go", "the goroutine that writes the log serves all callers and outlives each of them; Stop ends it"},
	{"no fresh context", "internal/tracker/peers.go", "the goroutine that follows the log has no caller; Stop ends it"},
	{"no fresh context", "internal/tracker/save.go", "the goroutine that writes the checkpoint has no caller; Stop ends it"},
}
