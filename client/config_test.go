package client

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
)

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	token := func(context.Context) (string, error) { return "", nil }
	tests := []struct {
		name string
		cfg  Config
		want string // in the error; "" is none
	}{
		{"loopback name", Config{Addr: "localhost:1", Token: token}, ""},
		{"loopback v4", Config{Addr: "127.0.0.9:1", Token: token}, ""},
		{"loopback v6", Config{Addr: "[::1]:1", Token: token}, ""},
		{"TLS", Config{Addr: "presence.example:443", Token: token, TLS: &tls.Config{}}, ""},
		{"allowed plaintext", Config{Addr: "presence.example:1", Token: token, Insecure: true}, ""},
		{"plaintext", Config{Addr: "presence.example:1", Token: token}, "Config.TLS"},
		{"plaintext to all", Config{Addr: "0.0.0.0:1", Token: token}, "Config.TLS"},
		{"plaintext to a name like ours", Config{Addr: "localhost.example:1", Token: token}, "Config.TLS"},
		{"no host", Config{Addr: ":1", Token: token}, "Config.TLS"},
		{"no port", Config{Addr: "localhost", Token: token}, "host:port"},
		{"live", Config{Addr: "ws://localhost:1", Token: token}, ""},
		{"live over TLS", Config{Addr: "wss://presence.example/presence/live", Token: token}, ""},
		{"live in the clear", Config{Addr: "ws://presence.example:1", Token: token}, "wss://"},
		{"live in the clear, allowed", Config{Addr: "ws://presence.example:1", Token: token, Insecure: true}, ""},
		{"live with both", Config{Addr: "ws://localhost:1/live", Token: token, TLS: &tls.Config{}}, "wss://localhost:1/live"},
		{"another scheme", Config{Addr: "http://localhost:1", Token: token}, "ws or wss"},
		{"no host after the scheme", Config{Addr: "ws:///live", Token: token}, "want ws://"},
		{"token in the address", Config{Addr: "ws://localhost:1/live?access_token=x", Token: token}, "Config.Token"},
		{"several", Config{Addr: "localhost:1", More: []string{"localhost:2", "localhost:3"}, Token: token}, ""},
		{"several live", Config{Addr: "ws://localhost:1", More: []string{"ws://localhost:2"}, Token: token}, ""},
		{"of two kinds", Config{Addr: "ws://localhost:1", More: []string{"localhost:2"}, Token: token}, "More[0]: address \"localhost:2\" is of another kind"},
		{"one in the clear", Config{Addr: "localhost:1", More: []string{"localhost:2", "presence.example:1"}, Token: token}, "More[1]: plaintext"},
		{"no token", Config{Addr: "localhost:1"}, "Config.Token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := New(tt.cfg)
			if c != nil {
				defer c.Close()
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("New: got %v, want nil", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("New: got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestStatusCheck(t *testing.T) {
	t.Parallel()
	loop := &Ref{Token: "t"}
	loop.Args = map[string]any{"again": loop}
	var none *Ref
	tests := []struct {
		name   string
		status Status
		want   string // path of the violated field; "" is none
	}{
		{"zero", Status{}, ""},
		{"all kinds", Status{Show: Away, Properties: map[string]any{
			"a": "x", "b": true, "c": 1, "d": uint8(1), "e": 1.5, "f": float32(1), "g": uint64(1), "h": Ref{Token: "t"}, "i": &Ref{Token: "t"},
		}}, ""},
		{"show", Status{Show: "sleepy"}, "update.status"},
		{"text and template", Status{Text: "a", Template: &Ref{Token: "t"}}, "update.rich_text"},
		{"text not UTF-8", Status{Text: "\xff"}, "update.rich_text"},
		{"template not UTF-8", Status{Template: &Ref{Token: "\xff"}}, "update.rich_text"},
		{"endless template", Status{Template: loop}, "update.rich_text.args[again].args[again].args[again].args[again]"},
		{"struct", Status{Properties: map[string]any{"k": struct{}{}}}, "update.properties[k]"},
		{"nil", Status{Properties: map[string]any{"k": nil}}, "update.properties[k]"},
		{"nil ref", Status{Properties: map[string]any{"k": none}}, "update.properties[k]"},
		{"too big", Status{Properties: map[string]any{"k": uint64(1 << 63)}}, "update.properties[k]"},
		{"value not UTF-8", Status{Properties: map[string]any{"k": "\xff"}}, "update.properties[k]"},
		{"key not UTF-8", Status{Properties: map[string]any{"\xff": 1}}, "update.properties"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := tt.status.check(); err != nil {
				got = err.(*Error).Fields[0].Path
			}
			if got != tt.want {
				t.Errorf("check: got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPatched(t *testing.T) {
	t.Parallel()
	yes := true
	old := Status{Show: Busy, Text: "a", Properties: map[string]any{"keep": 1, "drop": 2}}
	got := old.patched(Patch{Properties: map[string]any{"new": 3}, ClearProperties: []string{"drop"}, Invisible: &yes})
	if got.Show != Busy || got.Text != "a" || !got.Invisible || len(got.Properties) != 2 || got.Properties["keep"] != 1 || got.Properties["new"] != 3 {
		t.Errorf("patched: got %+v", got)
	}
	if len(old.Properties) != 2 || old.Properties["drop"] != 2 {
		t.Errorf("patched changed its receiver: %+v", old)
	}
	if got := old.patched(Patch{Template: &Ref{Token: "t"}}); got.Text != "" || got.Template == nil {
		t.Errorf("template: got %+v", got)
	}
	if got := old.patched(Patch{ClearText: true}); got.Text != "" {
		t.Errorf("ClearText: got %+v", got)
	}
	for _, bad := range []Patch{
		{ClearText: true, Text: "x"},
		{ClearProperties: []string{"k"}, Properties: map[string]any{"k": 1}},
		{Show: "sleepy"},
	} {
		if err := bad.check(); ReasonOf(err) != ReasonFieldInvalid {
			t.Errorf("check of %+v: got %v, want FIELD_INVALID", bad, err)
		}
	}
}
