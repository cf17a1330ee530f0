package facts

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// comings are what a user does who comes and goes every other second: each
// session opens and closes, and some open again.
func comings(n int) (records []presence.Record) {
	random := rand.New(rand.NewPCG(1, 2))
	at := presence.Time(1_700_000_000_000)
	for i := range n {
		at = at.Add(time.Duration(random.IntN(4000)) * time.Millisecond)
		session := presence.SessionID{byte(i / 2), byte(i / 2 >> 8)}
		r := presence.Record{
			Kind: presence.RecordOpened, User: presence.User{App: "demo", ID: "alice"}, Session: session, Public: presence.PublicID(session),
			Epoch: presence.Epoch{Counter: 1}, Revision: 1, Time: at, Device: presence.Device{Platform: "ios"}, Reason: presence.ReasonLeft,
		}
		if i%2 == 1 && random.IntN(10) > 0 {
			r.Kind = presence.RecordClosed
		}
		records = append(records, r)
	}
	return records
}

// TestCrowds: a user with many sessions is folded as any other, while they are
// many, while they become many, and while they fade.
func TestCrowds(t *testing.T) {
	t.Parallel()
	f := newFold()
	var plain presence.Folded
	records := comings(6000) // of more than an hour
	late := records[len(records)-1]
	late.Time = late.Time.Add(2 * time.Hour) // nothing is within an hour of it
	late.Session = presence.SessionID{255, 255}
	most := 0
	for i, r := range append(records, late) {
		want := plain.Apply(&r, nil)
		got, err := f.apply(&r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(presence.FoldedSession{})); diff != "" {
			t.Fatalf("record %d (-want +got):\n%s", i, diff)
		}
		k := f.key(r.User)
		if crowd := f.crowds[k]; crowd != nil {
			most = max(most, len(crowd.Sessions))
			if f.users[k] != "" {
				t.Fatal("a user is kept twice")
			}
		}
	}
	if most < 500 {
		t.Errorf("got at most %d sessions, want a crowd", most)
	}
	u, err := f.get(f.key(late.User))
	if diff := cmp.Diff(plain, u, cmp.AllowUnexported(presence.FoldedSession{})); diff != "" || err != nil {
		t.Errorf("at the end: %v (-want +got):\n%s", err, diff)
	}
	f.put(f.key(late.User), &presence.Folded{})
	if len(f.users) != 0 || len(f.crowds) != 0 || f.bytes != 0 {
		t.Errorf("got %d users, %d crowds and %d bytes of nobody", len(f.users), len(f.crowds), f.bytes)
	}
}

// BenchmarkCrowd is one record of a user with a thousand sessions.
//
//	go test -run '^$' -bench Crowd ./internal/facts
func BenchmarkCrowd(b *testing.B) {
	records := comings(2000)
	f := newFold()
	for i := range records {
		if _, err := f.apply(&records[i], nil); err != nil {
			b.Fatal(err)
		}
	}
	last := records[len(records)-1]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		last.Epoch.Counter = uint32(2 + i)
		if _, err := f.apply(&last, nil); err != nil {
			b.Fatal(err)
		}
	}
}
