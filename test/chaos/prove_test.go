package chaos

import (
	"strings"
	"testing"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// A checker that cannot fail proves nothing. Here each check gets a fabricated
// history that keeps its promise and some that break it, and must tell them
// apart.

// origin is when the fabricated histories begin; killAt is their kill.
var (
	origin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	killAt = after(10 * time.Second)
)

func after(d time.Duration) time.Time { return origin.Add(d) }

// did is an act that took ten milliseconds; asked one that nobody answered.
func did(d time.Duration) act   { return act{after(d), after(d + 10*time.Millisecond)} }
func asked(d time.Duration) act { return act{sent: after(d)} }

const (
	online = isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_ONLINE
	aside  = isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY

	kindCurrent = isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CURRENT
	kindOpened  = isonlinev1.SessionEventKind_SESSION_EVENT_KIND_OPENED
	kindClosed  = isonlinev1.SessionEventKind_SESSION_EVENT_KIND_CLOSED
)

// bobs is a life that opened after 1 s, said status 1 then, 2 after 5 s and 3
// after 9.5 s, which is less than a second before the kill, and is still held.
func bobs(change func(*life)) *life {
	l := &life{
		user: "bob", public: publicOf(1), held: true, watches: map[string]act{}, opens: []act{did(time.Second)},
		says: []saying{{did(time.Second), 1, online, false}, {did(5 * time.Second), 2, aside, false}, {did(9500 * time.Millisecond), 3, online, false}},
	}
	if change != nil {
		change(l)
	}
	return l
}

func publicOf(n byte) string { return presence.PublicID{n}.String() }

func past(l *life) *history {
	h := newHistory()
	h.lives[l.public] = l
	h.outages = []outage{{at: killAt, gone: killAt.Add(5 * time.Millisecond)}}
	return h
}

// bobAs is a view in which bob has one session that shows a status.
func bobAs(number int, show isonlinev1.IsOnlineStatus) view {
	return view{"bob": {online: true, sessions: map[string]shown{publicOf(1): {number, show}}}}
}

var nobody = view{"bob": {sessions: map[string]shown{}}}

// expect fails unless found has something with want in it, or nothing when want
// is empty.
func expect(t *testing.T, found []string, want string) {
	t.Helper()
	got := strings.Join(found, "\n")
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestSessionsCheckCanFail(t *testing.T) {
	t.Parallel()
	closed := func(l *life) { l.byes, l.ended, l.held = []act{did(6 * time.Second)}, endClosed, false }
	left := func(l *life) { l.held = false }
	tests := []struct {
		name    string
		life    *life
		settled bool
		own     view
		want    string
	}{
		{"newest status", bobs(nil), false, bobAs(3, online), ""},
		{"status of the last second lost", bobs(nil), false, bobAs(2, aside), ""},
		{"older status", bobs(nil), false, bobAs(1, online), "shows status 1, but 2 was acknowledged in time"},
		{"status never stated", bobs(nil), false, bobAs(4, online), "never asked for"},
		{"another show than stated", bobs(nil), false, bobAs(2, online), "never asked for"},
		{"lost opening", bobs(nil), false, nobody, "is missing"},
		{"opening not acknowledged", bobs(func(l *life) { l.opens = []act{asked(time.Second)} }), false, nobody, ""},
		{"opening acknowledged just before the kill", bobs(func(l *life) { l.opens = []act{did(9900 * time.Millisecond)} }), false, nobody, "is missing"},
		{"closed", bobs(closed), false, nobody, ""},
		{"closed and back", bobs(closed), false, bobAs(3, online), "is open and must not be"},
		{"closing not acknowledged", bobs(func(l *life) { l.byes = []act{asked(9 * time.Second)} }), false, bobAs(3, online), ""},
		{"replaced and back", bobs(func(l *life) { l.replace = did(9 * time.Second) }), false, bobAs(3, online), "is open and must not be"},
		{"nobody holds it, in the grace", bobs(left), false, bobAs(3, online), ""},
		{"nobody holds it, after the grace: a ghost", bobs(left), true, bobAs(3, online), "is open and must not be"},
		{"held, after the grace", bobs(nil), true, bobAs(3, online), ""},
		{"held and gone after the grace", bobs(nil), true, nobody, "is missing"},
		{"another public id", bobs(nil), false, view{"bob": {online: true, sessions: map[string]shown{publicOf(2): {3, online}}}}, "nobody made"},
		{"flag without a session", bobs(closed), false, view{"bob": {online: true}}, "0 sessions, but online is true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			expect(t, checkSessions(past(tt.life).demands(tt.settled), tt.own), tt.want)
		})
	}
}

func TestHiddenCheckCanFail(t *testing.T) {
	t.Parallel()
	hides := func(a act) *life {
		return bobs(func(l *life) { l.says = append(l.says, saying{a, 4, online, true}) })
	}
	tests := []struct {
		name    string
		life    *life
		strange view
		want    string
	}{
		{"visible", bobs(nil), bobAs(3, online), ""},
		{"visible, but not shown", bobs(nil), nobody, "visible to others is false"},
		{"hidden", hides(did(9900 * time.Millisecond)), nobody, ""},
		{"hidden, but shown", hides(did(9900 * time.Millisecond)), bobAs(3, online), "visible to others is true"},
		{"perhaps hidden", hides(asked(9900 * time.Millisecond)), bobAs(3, online), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			expect(t, checkHidden(past(tt.life).demands(false), bobAs(3, online), tt.strange), tt.want)
		})
	}
}

// heard is a notice of bob's session.
func heard(kind isonlinev1.SessionEventKind, flag bool) told {
	f := isonlinev1.UserFlag_USER_FLAG_OFFLINE
	if flag {
		f = isonlinev1.UserFlag_USER_FLAG_ONLINE
	}
	return told{after(12 * time.Second), &notice{UserId: "bob", UserFlag: f, Session: &isonlinev1.SessionNotification{
		SessionId: publicOf(1), Kind: kind, RichText: textOf(3), Status: online,
	}}}
}

func TestFlapCheckCanFail(t *testing.T) {
	t.Parallel()
	since, until := after(11*time.Second), after(20*time.Second)
	tests := []struct {
		name    string
		life    *life
		notices []told
		want    string
	}{
		{"only shown", bobs(nil), []told{heard(kindCurrent, true)}, ""},
		{"closed and opened", bobs(nil), []told{heard(kindCurrent, true), heard(kindClosed, false), heard(kindOpened, true)}, "flapped"},
		{"opened for no reason", bobs(nil), []told{heard(kindOpened, true)}, "flapped"},
		{"said goodbye", bobs(func(l *life) { l.byes = []act{did(12 * time.Second)} }), []told{heard(kindClosed, false)}, ""},
		{"said goodbye once, closed twice", bobs(func(l *life) { l.byes = []act{did(12 * time.Second)} }), []told{heard(kindClosed, false), heard(kindClosed, false)}, "flapped"},
		{"said goodbye to the server before", bobs(func(l *life) { l.byes = []act{did(5 * time.Second)} }), []told{heard(kindClosed, false)}, "flapped"},
		{"came too late", bobs(func(l *life) { l.losses, l.opens = 1, append(l.opens, did(15*time.Second)) }), []told{heard(kindClosed, false), heard(kindOpened, true)}, ""},
		{"hidden", bobs(func(l *life) { l.says = append(l.says, saying{did(13 * time.Second), 4, online, true}) }), []told{heard(kindClosed, false)}, ""},
		{"hidden before", bobs(func(l *life) { l.says = append(l.says, saying{did(9 * time.Second), 4, online, true}) }), []told{heard(kindClosed, false)}, "flapped"},
		{"hidden at last, after a try before", bobs(func(l *life) {
			l.says = append(l.says, saying{asked(9900 * time.Millisecond), 4, online, true}, saying{did(13 * time.Second), 5, online, true})
		}), []told{heard(kindClosed, false)}, ""},
		{"nobody's session", bobs(func(l *life) { l.public = publicOf(9) }), []told{heard(kindOpened, true)}, "nobody made"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			expect(t, checkFlaps(past(tt.life).lives, tt.notices, since, until), tt.want)
		})
	}
}

func TestOfflineCheckCanFail(t *testing.T) {
	t.Parallel()
	offline := []told{heard(kindClosed, false)}
	expect(t, checkOffline(map[string]bool{"bob": true}, offline), "bob is offline")
	expect(t, checkOffline(map[string]bool{"carol": true}, offline), "")
}

func TestSteadyIsTold(t *testing.T) {
	t.Parallel()
	says := func(list ...saying) *life { return bobs(func(l *life) { l.says = append(l.says, list...) }) }
	tests := []struct {
		name string
		life *life
		want bool
	}{
		{"there all the time", bobs(nil), true},
		{"let go", bobs(func(l *life) { l.held = false }), false},
		{"opened after it", bobs(func(l *life) { l.opens = []act{did(12 * time.Second)} }), false},
		{"perhaps opened anew", bobs(func(l *life) { l.doubtful = 1 }), false},
		{"hidden", says(saying{did(9 * time.Second), 4, online, true}), false},
		{"hidden for a moment", says(saying{did(11 * time.Second), 4, online, true}, saying{did(12 * time.Second), 5, online, false}), false},
		{"hidden until it came back", says(saying{did(9 * time.Second), 4, online, true}, saying{did(12 * time.Second), 5, online, false}), false},
		{"perhaps hidden until it came back", says(saying{asked(9900 * time.Millisecond), 4, online, true}, saying{did(12 * time.Second), 5, online, false}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.life.steady(outage{at: killAt}); got != tt.want {
				t.Errorf("steady: got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPictureCheckCanFail(t *testing.T) {
	t.Parallel()
	seen := after(12 * time.Second)
	tests := []struct {
		name    string
		notices []told
		query   view
		want    string
	}{
		{"the same", []told{heard(kindCurrent, true)}, bobAs(3, online), ""},
		{"an older status", []told{heard(kindCurrent, true)}, bobAs(4, online), "knows status"},
		{"never told", nil, bobAs(3, online), "told nothing of bob"},
		{"not told of the end", []told{heard(kindCurrent, true)}, nobody, "knows online true"},
		{"told of the end", []told{heard(kindCurrent, true), heard(kindClosed, false)}, nobody, ""},
		{"another last seen", []told{heard(kindClosed, false)}, view{"bob": {lastSeen: seen}}, "knows last seen"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			expect(t, differ(pictureOf(tt.notices), tt.query), tt.want)
		})
	}
}

func TestSeenCheckCanFail(t *testing.T) {
	t.Parallel()
	lost := func(l *life) { l.ended, l.held, l.lostAt = endLost, false, killAt }
	closed := func(l *life) { l.byes, l.ended, l.held = []act{did(6 * time.Second)}, endClosed, false }
	tests := []struct {
		name string
		life *life
		at   time.Time
		want string
	}{
		{"lost with the node", bobs(lost), killAt.Add(-900 * time.Millisecond), ""},
		{"long before the kill", bobs(lost), killAt.Add(-3 * time.Second), "before the device was there"},
		{"when the grace was over", bobs(lost), killAt.Add(2 * time.Second), "after any device was there"},
		{"never", bobs(lost), time.Time{}, "has no last seen"},
		{"at the goodbye", bobs(closed), after(6*time.Second + time.Millisecond), ""},
		{"before the goodbye", bobs(closed), after(5 * time.Second), "before the device was there"},
		{"after the goodbye", bobs(closed), after(7 * time.Second), "after any device was there"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			own := view{"bob": {lastSeen: tt.at, sessions: map[string]shown{}}}
			found, _ := checkSeen(map[string][]*life{"bob": {tt.life}}, own, past(tt.life).outages)
			expect(t, found, tt.want)
		})
	}
	seen := lastSeens{}
	expect(t, seen.checkView(view{"bob": {lastSeen: after(2 * time.Second)}}), "")
	expect(t, seen.checkView(view{"bob": {lastSeen: after(2 * time.Second)}}), "")
	expect(t, seen.checkView(view{"bob": {}}), "")
	expect(t, seen.checkView(view{"bob": {lastSeen: after(time.Second)}}), "went back")
}

func TestSurvivalIsTold(t *testing.T) {
	t.Parallel()
	kill, stop := outage{at: killAt}, outage{at: killAt, clean: true}
	tests := []struct {
		name    string
		act     act
		outages []outage
		want    bool
	}{
		{"long before a kill", did(8 * time.Second), []outage{kill}, true},
		{"in the last second before a kill", did(9500 * time.Millisecond), []outage{kill}, false},
		{"in the last second before a SIGTERM", did(9500 * time.Millisecond), []outage{stop}, true},
		{"not acknowledged", asked(8 * time.Second), []outage{stop}, false},
		{"after the kill", did(11 * time.Second), []outage{kill}, true},
		{"before a SIGTERM and soon a kill", did(9500 * time.Millisecond), []outage{stop, {at: killAt.Add(300 * time.Millisecond)}}, false},
		{"long before a kill, and another soon", did(8 * time.Second), []outage{kill, {at: killAt.Add(300 * time.Millisecond)}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.act.survives(tt.outages); got != tt.want {
				t.Errorf("survives: got %v, want %v", got, tt.want)
			}
		})
	}
}
