package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const service = "isonline.v1.IsOnlineService"

// grpcurl is the tool, pointed at a server; it learns the interface by
// reflection, as a person at a terminal would.
type grpcurl struct {
	path  string
	addr  string
	token string
}

func testGrpcurl(t *testing.T, s *server) {
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	t.Cleanup(cancel)
	find := exec.CommandContext(ctx, "go", "tool", "-modfile=tools/grpcurl/go.mod", "-n", "grpcurl")
	find.Dir = rootDir
	out, err := find.Output()
	if err != nil {
		missing(t, "grpcurl", fmt.Sprintf("it could not be built: %v", err))
	}
	alice := &grpcurl{strings.TrimSpace(string(out)), s.grpc, s.token(t, "grpcurl-alice")}
	bob := &grpcurl{alice.path, s.grpc, s.token(t, "grpcurl-bob")}

	t.Run("reflection", func(t *testing.T) { t.Parallel(); alice.testReflection(t, ctx) })
	t.Run("health", func(t *testing.T) { t.Parallel(); alice.testHealth(t, ctx) })
	t.Run("session", func(t *testing.T) { t.Parallel(); testSessionByHand(t, ctx, alice, bob) })
	t.Run("refusal", func(t *testing.T) { t.Parallel(); testRefusal(t, ctx, alice) })
}

func (g *grpcurl) testReflection(t *testing.T, ctx context.Context) {
	if services := strings.Fields(g.run(t, ctx, "", "list")); !slices.Contains(services, service) {
		t.Errorf("list: got %q, want %s among them", services, service)
	}
	methods := strings.Fields(g.run(t, ctx, "", "list", service))
	if len(methods) != isonlineMethods {
		t.Errorf("list %s: got %d methods, want %d", service, len(methods), isonlineMethods)
	}
	text := g.run(t, ctx, "", "describe", service+".ConnectToIsOnlineSession")
	if want := "returns ( stream .isonline.v1.ConnectToIsOnlineSessionResponse )"; !strings.Contains(text, want) {
		t.Errorf("describe: got %q, want it to contain %q", text, want)
	}
	if text := g.run(t, ctx, "", "describe", "isonline.v1.IsOnlineUpdate"); !strings.Contains(text, "bool appear_offline = 4") {
		t.Errorf("describe: got %q, want the field appear_offline", text)
	}
}

// isonlineMethods is how many calls the interface has (protocol note A4).
const isonlineMethods = 13

func (g *grpcurl) testHealth(t *testing.T, ctx context.Context) {
	if text := g.run(t, ctx, "{}", "grpc.health.v1.Health/Check"); !strings.Contains(text, "SERVING") {
		t.Errorf("health: got %q, want SERVING", text)
	}
}

// testSessionByHand is what the README shows: make, connect, watch, ask.
func testSessionByHand(t *testing.T, ctx context.Context, alice, bob *grpcurl) {
	var made madeSession
	answer := alice.call(t, ctx, "MakeIsOnlineSession", `{"client":{"platform":"terminal","locale":"en-US"}}`)
	if err := json.Unmarshal([]byte(answer), &made); err != nil || made.SessionToken == "" {
		t.Fatalf("make: got %q (%v), want a session token", answer, err)
	}
	alice.call(t, ctx, "SubscribeToUserIsOnline", fmt.Sprintf(`{"session_token":%q,"user_id":"grpcurl-bob"}`, made.SessionToken))

	// A stream that nobody ends runs into -max-time: grpcurl then exits non-zero
	// having printed what it read.
	stream := bob.cmd(ctx, made.connect(), "-max-time", "3", service+"/ConnectToIsOnlineSession")
	if out, err := stream.CombinedOutput(); err == nil || !strings.Contains(string(out), "SESSION_TOKEN_NOT_YOURS") {
		t.Errorf("connect with alice's session as bob: got %v %q, want SESSION_TOKEN_NOT_YOURS", err, out)
	}
	stream = alice.cmd(ctx, made.connect(), "-max-time", "3", service+"/ConnectToIsOnlineSession")
	out, err := stream.CombinedOutput()
	text := string(out)
	if err == nil {
		t.Errorf("connect: the stream ended by itself with %q", text)
	}
	for _, want := range []string{`"connected"`, made.SessionID, "DeadlineExceeded", `"userFlag": "USER_FLAG_OFFLINE"`, `"snapshotDone"`} {
		if !strings.Contains(text, want) {
			t.Errorf("connect: got %q, want it to contain %q", text, want)
		}
	}

	// The link is lost now, and within the grace alice still is online.
	if answer := bob.call(t, ctx, "GetUserIsOnline", `{"user_id":"grpcurl-alice","detail":"DETAIL_SESSIONS"}`); !strings.Contains(answer, "USER_FLAG_ONLINE") ||
		!strings.Contains(answer, "IS_ONLINE_STATUS_BUSY") || !strings.Contains(answer, "reading the paper") {
		t.Errorf("get: got %q, want alice busy, reading the paper", answer)
	}
	answer = bob.call(t, ctx, "BatchGetUserIsOnline", `{"user_ids":["grpcurl-nobody","grpcurl-alice"]}`)
	nobody, found := strings.Index(answer, "grpcurl-nobody"), strings.Index(answer, "grpcurl-alice")
	if nobody < 0 || found < nobody || !strings.Contains(answer, "USER_FLAG_OFFLINE") {
		t.Errorf("batch: got %q, want nobody offline, then alice", answer)
	}
	alice.call(t, ctx, "CloseIsOnlineSession", fmt.Sprintf(`{"session_token":%q,"mode":"CLOSE_MODE_LOGOUT"}`, made.SessionToken))
	if answer := bob.call(t, ctx, "GetUserIsOnline", `{"user_id":"grpcurl-alice"}`); !strings.Contains(answer, "USER_FLAG_OFFLINE") || !strings.Contains(answer, "lastSeen") {
		t.Errorf("get after logout: got %q, want alice offline with lastSeen", answer)
	}
}

// madeSession is what a person copies from the answer of make.
type madeSession struct {
	SessionID    string `json:"sessionId"`
	SessionToken string `json:"sessionToken"`
}

// connect is the request that opens the session's stream.
func (m madeSession) connect() string {
	return fmt.Sprintf(`{"session_token":%q,"initial":{"status":"IS_ONLINE_STATUS_BUSY","rich_text":{"literal":"reading the paper"}}}`, m.SessionToken)
}

func testRefusal(t *testing.T, ctx context.Context, g *grpcurl) {
	stranger := &grpcurl{path: g.path, addr: g.addr}
	out, err := stranger.cmd(ctx, `{"user_id":"alice"}`, service+"/GetUserIsOnline").CombinedOutput()
	if err == nil {
		t.Errorf("without a token: got an answer, %q", out)
	}
	for _, want := range []string{"Unauthenticated", "JWT_INVALID", "isonline"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("without a token: got %q, want it to contain %q", out, want)
		}
	}
}

// call calls a unary method with a JSON request and returns the JSON answer.
func (g *grpcurl) call(t *testing.T, ctx context.Context, method, request string) string {
	t.Helper()
	return g.run(t, ctx, request, service+"/"+method)
}

// run runs grpcurl, which must succeed.
func (g *grpcurl) run(t *testing.T, ctx context.Context, request string, args ...string) string {
	t.Helper()
	out, err := g.cmd(ctx, request, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("grpcurl %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// cmd prepares a run: flags of args come before the address, the rest after.
func (g *grpcurl) cmd(ctx context.Context, request string, args ...string) *exec.Cmd {
	argv := []string{"-plaintext", "-max-time", "20"}
	if g.token != "" {
		argv = append(argv, "-H", "authorization: Bearer "+g.token)
	}
	if request != "" {
		argv = append(argv, "-d", request)
	}
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		argv, args = append(argv, args[:2]...), args[2:]
	}
	cmd := exec.CommandContext(ctx, g.path, append(append(argv, g.addr), args...)...)
	cmd.WaitDelay = patience
	return cmd
}
