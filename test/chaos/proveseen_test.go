package chaos

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

func TestLastSeenOfWatchersCanFail(t *testing.T) {
	t.Parallel()
	hear := func(l *ledger, at time.Duration) {
		l.hear(&notice{UserId: "bob", UserFlag: isonlinev1.UserFlag_USER_FLAG_OFFLINE, LastSeen: timestamppb.New(after(at))})
	}
	always, never := func(setback) bool { return true }, func(setback) bool { return false }
	for _, tt := range []struct {
		name   string
		told   []time.Duration
		parted func(setback) bool
		want   string
	}{
		{"forward", []time.Duration{1, 1, 2}, never, ""},
		{"back", []time.Duration{2, 1}, never, "went back"},
		{"back for a while", []time.Duration{2, 1, 2}, never, "went back"},
		{"back for a while, parted", []time.Duration{2, 1, 2}, always, ""},
		{"back for good, parted", []time.Duration{2, 1}, always, "for good"},
		{"never as late again, parted", []time.Duration{3, 1, 2}, always, "for good"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(func(_, session string) string { return session })
			for _, at := range tt.told {
				hear(l, at*time.Second)
			}
			expect(t, l.wentBack(tt.parted), tt.want)
		})
	}
}

func TestPartedIsTold(t *testing.T) {
	t.Parallel()
	cut := outage{at: after(10 * time.Second), gone: after(20 * time.Second), harm: harmAlone, nodes: []int{1}}
	for _, tt := range []struct {
		name     string
		harm     harm
		told, at time.Duration
		want     bool
	}{
		{"told in the cut", harmAlone, 12, 15, true},
		{"told in the cut, earlier after it", harmAlone, 12, 22, true},
		{"long after it", harmAlone, 12, 40, false},
		{"told before it", harmAlone, 8, 15, false},
		{"told after it", harmAlone, 21, 22, false},
		{"another harm", harmKilled, 12, 15, false},
		{"read when it goes on", harmStopped, 21, 22, true},
		{"long after it went on", harmStopped, 21, 40, false},
		{"told before it stood still", harmStopped, 8, 15, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := cut
			o.harm = tt.harm
			w := &crowd{world: &world{history: &history{outages: []outage{o}}}}
			if got := w.parted(setback{told: after(tt.told * time.Second), at: after(tt.at * time.Second)}); got != tt.want {
				t.Errorf("parted: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWhatAWebhookKnowsLate(t *testing.T) {
	t.Parallel()
	w := &crowd{world: &world{history: newHistory()}}
	at := func(d time.Duration) known { return known{lastSeen: after(d)} }
	of := func(bob, carol known) map[string]known { return map[string]known{"bob": bob, "carol": carol} }
	differ := func(told, snapshot map[string]known) []string {
		w.knowLate(told, snapshot)
		return differKnown(told, snapshot)
	}
	early, late := at(time.Second), at(2*time.Second)
	expect(t, differ(of(early, late), of(late, late)), "bob: told last seen")
	w.toldLate("bob")
	expect(t, differ(of(early, late), of(late, late)), "")
	expect(t, differ(of(late, late), of(early, late)), "bob: told last seen")
	expect(t, differ(of(early, early), of(late, late)), "carol: told last seen")
	w.lateIn["bob"] = time.Now().Add(-lateFor - time.Second)
	expect(t, differ(of(early, late), of(late, late)), "") // until he was told
	expect(t, differ(of(late, late), of(late, late)), "")
	expect(t, differ(of(early, late), of(late, late)), "bob: told last seen")
}
