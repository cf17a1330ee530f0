package chaos

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// appOf is what the app of a crowd has beside its tokens: all doors, and webhooks
// of three formats.
func (w *crowd) appOf() string {
	return fmt.Sprintf(`    server_keys: [{id: k1, secret: %s}]
    limits: {watches: 100000}
    rongcloud: {app_key: %s, app_secret: %s}
    tencentim: {sdkappid: %d, key: %s, admins: [%s]}
    stringee: {key_sid: %s, key_secret: %q, project_id: 25}
    mozpresence: {publishers: closed}
    webhooks:
      main: {url: %q, secrets: [%s], allow_private: true, include_custom: true}
      rong: {url: %q, format: rongcloud, allow_private: true}
      tencent: {url: %q, format: tencentim, tencentim: {profile: "2025"}, allow_private: true}
`, serverKey, rongAppKey, rongAppSecret, tencentApp, tencentKey, tencentAdmin, stringeeSID, stringeeSecret, w.hook.url, w.hook.secret, w.ears.rong, w.ears.tencent)
}

// nameEverybody names the patrons: of ten six are at the live door, two at
// Stringee's, two at Mozilla's.
func (w *crowd) nameEverybody(t *testing.T) {
	t.Helper()
	w.all = append(w.all, w.users...)
	w.named = map[string]bool{}
	for i := range sizeOf(t, "PORCHLIGHT_CHAOS_PATRONS", 0, 60) {
		user := fmt.Sprintf("p%05d-%s", i, dialectOf(i).name())
		w.named[user] = true
		w.all = append(w.all, user)
	}
}

func dialectOf(i int) dialect {
	switch n := i % 10; {
	case n < 6:
		return atLive{}
	case n < 8:
		return atStringee{}
	}
	return atMozilla{}
}

// keyOf is under which name a ledger counts: some patrons are never told their
// session's id.
func (w *crowd) keyOf(user, session string) string {
	if w.named[user] {
		return user
	}
	return session
}

// newPatrons makes the patrons and the onlookers; nobody is there yet.
func (w *crowd) newPatrons(t *testing.T) {
	t.Helper()
	w.patronPace = max(mostPause, time.Duration(len(w.named))*4*time.Millisecond)
	w.mayStick = true
	for i, user := range w.all[len(w.users):] {
		w.patrons = append(w.patrons, w.newPatron(t, user, i))
	}
	if len(w.patrons) == 0 {
		return
	}
	for i := range w.fleet.nodes {
		p := w.newPatron(t, fmt.Sprintf("onlooker%d", i), 1) // at the live door, and not behind a cable that is harmed
		p.ear = newLedger(w.keyOf)
		w.onlookers = append(w.onlookers, p)
	}
}

func (w *crowd) newPatron(t *testing.T, user string, place int) *patron {
	t.Helper()
	p := &patron{
		crowd: w, place: place, user: user, door: dialectOf(place), random: rand.New(rand.NewPCG(w.seed, 1_000_000+uint64(place)+uint64(len(user))<<32)),
		heard: make(chan answer, 1), standing: standing{watches: map[string]act{}, unsure: map[string]bool{}, picture: view{}, node: -1},
	}
	t.Cleanup(p.close)
	return p
}

// enterPatrons lets onlookers and patrons in, some at a time.
func (w *crowd) enterPatrons(t *testing.T) {
	t.Helper()
	w.entry = time.Now()
	for _, p := range w.onlookers {
		p.come()
		p.watchAgain(true)
		if p.sock == nil {
			t.Fatalf("%s could not come", p.user)
		}
	}
	w.eachPatron(w.patrons, (*patron).step)
}
