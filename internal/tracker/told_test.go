package tracker

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

func genFace(t *rapid.T, label string) presence.Face {
	at := func(what string) presence.Time { return presence.Time(rapid.Int64Range(0, 1<<42).Draw(t, label+what)) }
	f := presence.Face{Revision: rapid.Uint64().Draw(t, label+"revision"), Since: at("since"), Updated: at("updated")}
	if rapid.Bool().Draw(t, label+"ever") {
		f.Opened, f.Changed = 1, 1
	}
	if rapid.Bool().Draw(t, label+"closed") {
		f.Closed, f.ClosedAt = 1, at("closed at")
		f.Reason = rapid.SampledFrom(presence.Closings()).Draw(t, label+"reason")
	}
	return f
}

func genTold(t *rapid.T) told {
	text := func(what string) string { return rapid.StringN(0, 20, 60).Draw(t, what) }
	m := told{
		ref:   Ref{User: presence.User{App: app, ID: presence.UserID("u" + text("user"))}, Session: presence.SessionID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))},
		epoch: presence.Epoch{Counter: rapid.Uint32().Draw(t, "counter"), Incarnation: rapid.Uint64().Draw(t, "incarnation")}, revision: rapid.Uint64().Draw(t, "revision"),
		device: presence.Device{Platform: text("platform"), Product: text("product"), Locale: text("locale"), ID: text("device"), Version: text("version"), Addr: text("addr"), Door: text("door")},
		truth:  genFace(t, "truth "), seen: presence.Time(rapid.Int64Range(0, 1<<42).Draw(t, "seen")),
		held: rapid.Bool().Draw(t, "held"), created: rapid.Bool().Draw(t, "created"),
	}
	if m.shown = m.truth; rapid.Bool().Draw(t, "differs") {
		m.shown = genFace(t, "shown ")
	}
	if rapid.Bool().Draw(t, "served") {
		m.ttl, m.until = time.Duration(rapid.IntRange(1, 1e6).Draw(t, "ttl"))*time.Millisecond, 7
	}
	if rapid.Bool().Draw(t, "status") {
		m.status = &presence.Status{Show: presence.Show(rapid.IntRange(0, 2).Draw(t, "show")), Invisible: rapid.Bool().Draw(t, "invisible")}
	}
	return m
}

func TestToldComesBack(t *testing.T) {
	t.Parallel()
	rapidtest.Check(t, func(t *rapid.T) {
		want := genTold(t)
		got, err := parseTold(want.append(nil))
		if err != nil {
			t.Fatalf("parseTold: %v", err)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(told{})); d != "" {
			t.Fatalf("got other than what was written (-want +got):\n%s", d)
		}
	})
}

// FuzzTold reads whatever another node may send, and writes it again.
func FuzzTold(f *testing.F) {
	face := presence.Face{Opened: 1, Changed: 1, Revision: 1 << 33, Since: 5, Updated: 6}
	for _, m := range []told{
		{ref: Ref{User: bob}, truth: face, shown: face, status: &presence.Status{Show: presence.Busy}},
		{ref: Ref{User: bob}, truth: face, device: presence.Device{Platform: "ios", ID: "x"}, ttl: time.Second, until: 9, held: true},
	} {
		f.Add(m.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseTold(b)
		if err != nil {
			return
		}
		again := m.append(nil)
		n, err := parseTold(again)
		if err != nil || !bytes.Equal(again, n.append(nil)) {
			t.Fatalf("%x was read as %+v, and written as %x is refused or other: %v", b, m, again, err)
		}
	})
}
