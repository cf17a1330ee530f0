package isonline

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

var update = flag.Bool("update", false, "write the golden files anew; read the difference before you commit it")

// moment is a time in golden files, n minutes after a fixed one.
func moment(n int) presence.Time {
	return presence.At(time.Date(2026, 5, 17, 9, 30, 0, 0, time.UTC)).Add(time.Duration(n) * time.Minute)
}

// goldenStatus has every kind of value.
func goldenStatus() *presence.Status {
	s := &presence.Status{
		Show: presence.Busy,
		Text: presence.Value{Kind: presence.KindText, Text: "in Ørsted’s lab"},
		Properties: []presence.Property{
			{Key: "flag", Value: presence.Value{Kind: presence.KindFlag, Flag: true}},
			{Key: "integer", Value: presence.Value{Kind: presence.KindInteger, Integer: math.MinInt64}},
			{Key: "map", Value: presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{
				Token: "#map_7", Fallback: "The Harbour", Args: []presence.Property{{Key: "n", Value: presence.Value{Kind: presence.KindInteger, Integer: 7}}},
			}}},
			{Key: "number", Value: presence.Value{Kind: presence.KindNumber, Number: -0.25}},
			{Key: "text", Value: presence.Value{Kind: presence.KindText, Text: "a \"b\"\n"}},
		},
	}
	s.Normalize()
	return s
}

// goldenEncoder has the texts of app demo: what the goldens refer to, but for
// #no_fallback and #map_7.
func goldenEncoder() *encoder {
	return &encoder{textsOf(`{"locales": {
		"": {"#map_9": "Nebula"},
		"en": {"#playing": "In a match on {map}, round {round}", "#map_8": "The Observatory"},
		"da": {"#playing": "Spiller på {map}, runde {round}", "#map_8": "Observatoriet"}}}`)}
}

// textsOf is a set with one catalogue, of app demo.
func textsOf(catalogue string) *localize.Set {
	s := &localize.Set{}
	if c, err := localize.Parse([]byte(catalogue)); err == nil {
		if x, err := localize.New("en", map[string]*localize.Catalogue{"": c}); err == nil {
			s.Replace(map[presence.AppID]*localize.Texts{"demo": x})
		}
	}
	return s
}

// playing is a status whose text and property are made of references within
// references.
func playing(place string) *presence.Status {
	where := presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: place, Fallback: "Somewhere"}}
	s := &presence.Status{
		Text: presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: "#playing", Fallback: "Playing", Args: []presence.Property{
			{Key: "map", Value: where}, {Key: "round", Value: presence.Value{Kind: presence.KindInteger, Integer: 3}},
		}}},
		Properties: []presence.Property{{Key: "map", Value: where}},
	}
	s.Normalize()
	return s
}

func goldenView(status *presence.Status, true_, shown presence.Face) *presence.View {
	return &presence.View{
		Public: presence.PublicID([]byte("sixteen bytes id")), Device: &presence.Device{Platform: "ios", Product: "chat", ID: "secret", Addr: "192.0.2.7:4711"},
		Status: status, True: true_, Shown: shown,
	}
}

// goldens are the notifications of protocol note A5.3 and A5.4.
func goldens() map[string]*hub.Notification {
	open := presence.Face{Opened: 1, Changed: 2, Revision: 7, Since: moment(0), Updated: moment(5)}
	hidden := open
	hidden.Closed, hidden.ClosedAt, hidden.Reason = 3, moment(9), presence.ReasonHidden
	closed := hidden
	closed.Reason = presence.ReasonTimedOut
	away := &presence.Status{Show: presence.Away, Text: presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: "#in_match", Fallback: "In a match"}}}
	nameless := &presence.Status{Text: presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: "#no_fallback"}}}
	picture := func(seen, shown presence.Time, v *presence.View) *presence.Presence {
		p := &presence.Presence{User: presence.User{App: "demo", ID: "zoë"}, Version: 9, LastSeen: seen, LastSeenShown: shown}
		if v != nil {
			p.Sessions = []*presence.View{v}
		}
		return p
	}
	make := func(kind hub.Kind, p *presence.Presence, own bool) *hub.Notification {
		n := &hub.Notification{Presence: p, Kind: kind, Own: own, Available: p.Available(own) != presence.Unavailable, Locale: "da"}
		if kind != hub.KindNone {
			n.View = p.Sessions[0]
		}
		return n
	}
	reading := func(locale string, n *hub.Notification) *hub.Notification { n.Locale = locale; return n }
	full := goldenView(goldenStatus(), open, open)
	invisible := goldenStatus()
	invisible.Invisible = true
	return map[string]*hub.Notification{
		"none_never_seen":        make(hub.KindNone, picture(0, 0, nil), false),
		"none_last_seen":         make(hub.KindNone, picture(moment(8), moment(4), nil), false),
		"none_last_seen_own":     make(hub.KindNone, picture(moment(8), moment(4), nil), true),
		"current":                make(hub.KindCurrent, picture(moment(8), moment(4), full), false),
		"current_own":            make(hub.KindCurrent, picture(moment(8), moment(4), full), true),
		"opened_said_nothing":    make(hub.KindOpened, picture(0, 0, goldenView(nil, open, open)), false),
		"updated_template":       make(hub.KindUpdated, picture(0, 0, goldenView(away, open, open)), false),
		"updated_localized":      make(hub.KindUpdated, picture(0, 0, goldenView(playing("#map_8"), open, open)), false),
		"updated_neutral":        make(hub.KindUpdated, picture(0, 0, goldenView(playing("#map_9"), open, open)), false),
		"updated_default_locale": reading("fr", make(hub.KindUpdated, picture(0, 0, goldenView(playing("#map_8"), open, open)), false)),
		"updated_no_fallback":    make(hub.KindUpdated, picture(0, 0, goldenView(nameless, open, open)), false),
		"closed_last":            make(hub.KindClosed, picture(moment(8), moment(8), goldenView(nil, closed, closed)), false),
		"hidden_for_others":      make(hub.KindClosed, picture(moment(8), moment(9), goldenView(invisible, open, hidden)), false),
		"hidden_for_own":         make(hub.KindUpdated, picture(moment(8), moment(9), goldenView(invisible, open, hidden)), true),
		"closed_others_remain":   {Presence: picture(moment(8), moment(4), nil), View: goldenView(nil, closed, closed), Kind: hub.KindClosed, Available: true, Locale: "da"},
		"current_without_device": make(hub.KindCurrent, picture(0, 0, &presence.View{Device: &presence.Device{}, True: open, Shown: open}), false),
	}
}

// What is sent for each kind, to each side, stands in testdata as JSON.
func TestNotificationsAreGolden(t *testing.T) {
	t.Parallel()
	for name, n := range goldens() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := decode(t, newFrame(3, goldenEncoder().Encode(n).(mem.Buffer)))
			raw, err := protojson.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer // protojson varies its spaces on purpose
			if err := json.Indent(&got, raw, "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			path := filepath.Join("testdata", "notification", name+".json")
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", got.Bytes(), want)
			}
			for _, secret := range []string{"192.0.2.7", "secret", "#map_7", "#in_match", "#no_fallback", "#playing", "#map_8", "#map_9"} {
				if bytes.Contains(raw, []byte(secret)) {
					t.Errorf("%q is shown to watchers: %s", secret, raw)
				}
			}
		})
	}
}

// decode reads a frame as a device's protobuf does.
func decode(t *testing.T, f *frame) *message {
	t.Helper()
	b, err := codec{}.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	m := &message{}
	if err := proto.Unmarshal(b.Materialize(), m); err != nil {
		t.Fatal(err)
	}
	return m
}

// A frame put together of head and shared body is the message that the generated
// code would have written.
func TestFrameIsTheMessage(t *testing.T) {
	t.Parallel()
	for name, n := range goldens() {
		for _, sequence := range []uint64{1, 127, 128, 1 << 32, math.MaxUint64} {
			want := &message{Sequence: sequence, Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Notification{Notification: goldenEncoder().notification(n)}}
			b, err := codec{}.Marshal(newFrame(sequence, goldenEncoder().Encode(n).(mem.Buffer)))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := len(b.Materialize()), proto.Size(want); got != want {
				t.Errorf("%s with number %d has %d bytes, want %d", name, sequence, got, want)
			}
			if got := decode(t, newFrame(sequence, goldenEncoder().Encode(n).(mem.Buffer))); !proto.Equal(got, want) {
				t.Errorf("%s with number %d: got\n%v\nwant\n%v", name, sequence, got, want)
			}
		}
	}
}

// Everything but frames goes through protobuf as it is, and back.
func TestCodecIsProtobuf(t *testing.T) {
	t.Parallel()
	want := &isonlinev1.GetUserIsOnlineRequest{UserId: "alice", Locale: "da"}
	b, err := codec{}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := &isonlinev1.GetUserIsOnlineRequest{}
	if err := (codec{}).Unmarshal(b, got); err != nil || !proto.Equal(got, want) {
		t.Errorf("got %v and %v, want %v", got, err, want)
	}
	if name := (codec{}).Name(); name != "proto" {
		t.Errorf("the codec is named %q, want proto: devices choose by the name", name)
	}
	if _, err := (codec{}).Marshal("text"); err == nil {
		t.Error("what is no message was encoded")
	}
}

// R11, bytes: hiding and leaving differ in nothing.
func TestHiddenIsBitForBitGone(t *testing.T) {
	t.Parallel()
	open := presence.Face{Opened: 1, Changed: 1, Revision: 4, Since: moment(0), Updated: moment(0)}
	bodyOf := func(reason presence.Reason, status *presence.Status, truth presence.Face) []byte {
		shown := open
		shown.Closed, shown.ClosedAt, shown.Reason = 2, moment(3), reason
		p := &presence.Presence{User: presence.User{App: "demo", ID: "alice"}, Version: 2, LastSeenShown: moment(3), Sessions: []*presence.View{goldenView(status, truth, shown)}}
		return goldenEncoder().Encode(&hub.Notification{Presence: p, View: p.Sessions[0], Kind: hub.KindClosed}).(mem.Buffer).ReadOnlyData()
	}
	invisible := goldenStatus()
	invisible.Invisible = true
	stays := open
	stays.Changed, stays.Revision, stays.Updated = 2, 5, moment(3)
	gone := open
	gone.Closed, gone.ClosedAt, gone.Reason = 2, moment(3), presence.ReasonLeft
	hides, leaves := bodyOf(presence.ReasonHidden, invisible, stays), bodyOf(presence.ReasonLeft, nil, gone)
	if !bytes.Equal(hides, leaves) {
		t.Errorf("hiding sends\n%x\nleaving sends\n%x", hides, leaves)
	}
}

// R11, the whole way: what a watcher gets of one who hides is what he gets of
// one who leaves, and so is what a query says; then nothing more comes.
func TestHidingLooksLikeLeaving(t *testing.T) {
	t.Parallel()
	type sight struct {
		told   []*isonlinev1.IsOnlineNotification
		query  *isonlinev1.UserIsOnline
		silent []*isonlinev1.IsOnlineNotification
	}
	look := func(t *testing.T, goes func(d *device)) (s sight) {
		inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
			alice := n.device("alice").make()
			alice.connect(nil)
			bob := n.device("bob").make().subscribe("alice")
			stream := bob.connect(nil)
			stream.take()
			wait(time.Second)
			goes(alice)
			s.told, s.query = notifications(stream.take()), bob.query("alice")
			for _, told := range s.told {
				if told.GetSession().GetSessionId() != alice.id {
					t.Errorf("told of session %q, want %q", told.GetSession().GetSessionId(), alice.id)
				}
				told.Session.SessionId = "" // differs by chance
			}
			alice.update(&isonlinev1.IsOnlineUpdate{AppearOffline: true, RichText: literal("still here")})
			closeSession(alice, isonlinev1.CloseMode_CLOSE_MODE_LOGOUT)
			wait(time.Second)
			s.silent = notifications(stream.take())
		})
		return s
	}
	hidden := look(t, func(d *device) { d.must(d.update(&isonlinev1.IsOnlineUpdate{AppearOffline: true})) })
	left := look(t, func(d *device) { d.must(closeSession(d, isonlinev1.CloseMode_CLOSE_MODE_LEAVE)) })
	equal := func(a, b *isonlinev1.IsOnlineNotification) bool { return proto.Equal(a, b) }
	if len(hidden.told) != 1 || !slices.EqualFunc(hidden.told, left.told, equal) {
		t.Errorf("of one who hides a watcher is told\n%v\nof one who leaves\n%v", hidden.told, left.told)
	}
	if !proto.Equal(hidden.query, left.query) {
		t.Errorf("a query of one who hides says\n%v\nof one who left\n%v", hidden.query, left.query)
	}
	if len(hidden.silent)+len(left.silent) > 0 {
		t.Errorf("more is told later: %v and %v", hidden.silent, left.silent)
	}
}

// The IsOnline column of the design's table of reasons (§4).
func TestCloseReasonIsTotal(t *testing.T) {
	t.Parallel()
	want := map[presence.Reason]isonlinev1.CloseReason{
		presence.ReasonNone:     isonlinev1.CloseReason_CLOSE_REASON_UNSPECIFIED,
		presence.ReasonOpened:   isonlinev1.CloseReason_CLOSE_REASON_UNSPECIFIED, // no close
		presence.ReasonLogout:   isonlinev1.CloseReason_CLOSE_REASON_CLIENT,
		presence.ReasonLeft:     isonlinev1.CloseReason_CLOSE_REASON_CLIENT,
		presence.ReasonLinkLost: isonlinev1.CloseReason_CLOSE_REASON_DISCONNECTED,
		presence.ReasonTimedOut: isonlinev1.CloseReason_CLOSE_REASON_HEARTBEAT,
		presence.ReasonReplaced: isonlinev1.CloseReason_CLOSE_REASON_SUPERSEDED,
		presence.ReasonDropped:  isonlinev1.CloseReason_CLOSE_REASON_ADMIN,
		presence.ReasonExpired:  isonlinev1.CloseReason_CLOSE_REASON_EXPIRED,
		presence.ReasonNodeLost: isonlinev1.CloseReason_CLOSE_REASON_DISCONNECTED,
		presence.ReasonHidden:   isonlinev1.CloseReason_CLOSE_REASON_CLIENT,
		presence.ReasonShown:    isonlinev1.CloseReason_CLOSE_REASON_UNSPECIFIED, // no close
		presence.ReasonMoved:    isonlinev1.CloseReason_CLOSE_REASON_UNSPECIFIED, // no close
	}
	for r := presence.ReasonNone; r.String() != "unknown"; r++ {
		w, listed := want[r]
		if got := closeReason(r); !listed || got != w {
			t.Errorf("closeReason(%v) = %v, want %v (in this test's table: %v)", r, got, w, listed)
		}
	}
}

// TestUnknownWhileANodeIsSilent: who is not known, and may be to a node that is not
// heard, is told so.
func TestUnknownWhileANodeIsSilent(t *testing.T) {
	t.Parallel()
	n := &hub.Notification{Presence: &presence.Presence{User: presence.User{App: "demo", ID: "bob"}}, Stale: 7000}
	if m := goldenEncoder().notification(n); m.GetStaleSince().GetSeconds() != 7 || m.GetSession() != nil {
		t.Errorf("got %v", m)
	}
}
