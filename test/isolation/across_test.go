package isolation

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// asksWithoutSession are the calls that take no session token.
var asksWithoutSession = []string{"make and connect", "get", "batch get", "lose the link"}

// TestSessionTokenOfAnotherApp: a session token of one app is worth nothing
// beside an access token of the user with the same id in another.
func TestSessionTokenOfAnotherApp(t *testing.T) {
	t.Parallel()
	for device := range 2 { // over gRPC, and over Connect
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			red, blue := w.tenants[0], w.tenants[1]
			s := step{user: "alice", other: "bob", device: device, text: "plays"}
			if err := red.open(s); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			before := len(red.soFar()[s.who()+" stream"])
			blue.devices[s.who()] = red.devices[s.who()]
			for _, name := range kinds() {
				call := calls[name]
				if call == nil || slices.Contains(asksWithoutSession, name) {
					continue
				}
				if _, err := call(blue, s); reason(err) != "SESSION_TOKEN_NOT_YOURS" {
					t.Errorf("%s with the session token of app red and an access token of app blue: got %v, want SESSION_TOKEN_NOT_YOURS", name, err)
				}
			}
			delete(blue.devices, s.who())
			w.at(time.Second)
			if after := red.soFar()[s.who()+" stream"]; slices.ContainsFunc(after[before:], func(told string) bool { return !strings.Contains(told, "keepAlive") }) {
				t.Errorf("app red's session was told %q of the calls of app blue", after[before:])
			}
			w.stop()
		})
	}
}

// TestSessionOfAnotherApp: a server key drops no session of another app, even
// when it knows its public id.
func TestSessionOfAnotherApp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		red, blue := w.tenants[0], w.tenants[1]
		s := step{user: "alice", other: "bob", text: "plays"}
		if err := red.open(s); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for id := range red.names {
			path := "/users/alice/sessions/" + id
			if got := red.request("GET", path, ""); !strings.HasPrefix(got, "200 ") {
				t.Fatalf("GET of app red's own session: got %s", got)
			}
			if got := blue.request("GET", path, ""); !strings.HasPrefix(got, "404 ") {
				t.Errorf("GET with a key of app blue: got %s, want 404", got)
			}
			blue.request("DELETE", path, "")
			if got := red.request("GET", path, ""); !strings.HasPrefix(got, "200 ") {
				t.Errorf("after a DELETE with a key of app blue the session is gone: %s", got)
			}
		}
		w.stop()
	})
}

// reason is the machine-readable reason of an error of the IsOnline door.
func reason(err error) string {
	if e, ok := errors.AsType[*webError](err); ok {
		return e.reason()
	}
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return i.GetReason()
		}
	}
	return ""
}
