package isonline

import (
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func seed(f *testing.F, messages ...proto.Message) {
	f.Helper()
	for _, m := range messages {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// FuzzUpdate reads any bytes as an update: it is refused with a field, or makes
// a status that keeps all rules, is stored and read back the same, and can be
// sent to a watcher.
func FuzzUpdate(f *testing.F) {
	for _, row := range badUpdates {
		seed(f, row.update)
	}
	seed(f, &isonlinev1.IsOnlineUpdate{Status: 2, RichText: template(nested(4)), Properties: properties("a", text("b"), "m", localized(nested(3))), AppearOffline: true},
		&isonlinev1.IsOnlineUpdate{Properties: many(32, "v"), RichText: literal("hello")})
	f.Fuzz(func(t *testing.T, b []byte) {
		u := &isonlinev1.IsOnlineUpdate{}
		if proto.Unmarshal(b, u) != nil {
			return
		}
		s, err := statusOf("update", u)
		if err != nil {
			if fault.KindOf(err) != fault.FieldInvalid {
				t.Fatalf("refused with %v, want FIELD_INVALID", err)
			}
			return
		}
		wantClean(t, s)
	})
}

// wantClean fails unless s keeps all rules, survives the store, and can be told.
func wantClean(t *testing.T, s *presence.Status) {
	t.Helper()
	if broken := s.Check(); len(broken) > 0 {
		t.Fatalf("an accepted status breaks %v", broken)
	}
	back, err := presence.ParseStatus(presence.AppendStatus(nil, s))
	if err != nil || !back.Equal(s) {
		t.Fatalf("an accepted status comes back from the store as %v with %v", back, err)
	}
	open := presence.Face{Opened: 1, Revision: 1}
	v := &presence.View{Device: &presence.Device{}, Status: s, True: open, Shown: open}
	p := &presence.Presence{User: presence.User{App: "demo", ID: "alice"}, Sessions: []*presence.View{v}}
	body := (&encoder{}).Encode(&hub.Notification{Presence: p, View: v, Kind: hub.KindUpdated, Own: true, Available: true}).(mem.Buffer)
	m := &message{}
	if err := proto.Unmarshal(body.ReadOnlyData(), m); err != nil {
		t.Fatalf("an accepted status is told as what nobody can read: %v", err)
	}
	if got := len(m.GetNotification().GetSession().GetProperties()); got != len(s.Properties) {
		t.Fatalf("%d properties are told, want %d", got, len(s.Properties))
	}
}

// FuzzPartial merges any two partial updates into a status, as the door does:
// what comes of it keeps all rules or is refused, and never changes what it was
// made of.
func FuzzPartial(f *testing.F) {
	add := func(a, b *isonlinev1.PartialUpdateIsOnlineSessionRequest) {
		x, err1 := proto.Marshal(a)
		y, err2 := proto.Marshal(b)
		if err1 != nil || err2 != nil {
			f.Fatal(err1, err2)
		}
		f.Add(x, y)
	}
	hide := true
	add(&isonlinev1.PartialUpdateIsOnlineSessionRequest{Update: &isonlinev1.IsOnlineUpdate{Properties: many(32, "v"), RichText: literal("x")}},
		&isonlinev1.PartialUpdateIsOnlineSessionRequest{Update: &isonlinev1.IsOnlineUpdate{Properties: properties("more", text("v"))}, ClearProperties: []string{"key00", "none"}})
	add(&isonlinev1.PartialUpdateIsOnlineSessionRequest{Update: &isonlinev1.IsOnlineUpdate{Status: 3, RichText: template(nested(2))}, AppearOffline: &hide},
		&isonlinev1.PartialUpdateIsOnlineSessionRequest{ClearRichText: true})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		current := &presence.Status{}
		for _, b := range [][]byte{first, second} {
			req := &isonlinev1.PartialUpdateIsOnlineSessionRequest{}
			if proto.Unmarshal(b, req) != nil {
				return
			}
			part, err := statusOf("update", req.GetUpdate())
			if err != nil {
				continue
			}
			before := presence.AppendStatus(nil, current)
			s := patchOf(req, part).Apply(current)
			if string(before) != string(presence.AppendStatus(nil, current)) {
				t.Fatal("merging changed the status that others hold")
			}
			if err := checkStatus("update", s); err != nil {
				if fault.KindOf(err) != fault.FieldInvalid {
					t.Fatalf("refused with %v, want FIELD_INVALID", err)
				}
				continue
			}
			wantClean(t, s)
			if req.AppearOffline == nil && s.Invisible != current.Invisible {
				t.Fatal("a partial update that does not speak of it hid or showed the session")
			}
			current = s
		}
	})
}
