package tracker

import (
	"reflect"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestPolicyDefaults(t *testing.T) {
	t.Parallel()
	if got := (Policy{}).WithDefaults(); !reflect.DeepEqual(got, defaults) {
		t.Errorf("of nothing: got %+v, want %+v", got, defaults)
	}
	full := Policy{time.Second, 2, 3, 4, presence.Single, 5, 6, map[string]PlatformPolicy{"ios": {}}, true, true}
	if got := full.WithDefaults(); !reflect.DeepEqual(got, full) {
		t.Errorf("of a full one: got %+v, want it untouched", got)
	}
	tr := New(Config{Policies: map[presence.AppID]Policy{app: {}}})
	if tr.Policy("other") != nil || !reflect.DeepEqual(*tr.Policy(app), defaults) {
		t.Errorf("Policy: got %v and %+v, want nil and the defaults", tr.Policy("other"), tr.Policy(app))
	}
	if p := tr.PolicyOn("other", "ios"); !reflect.DeepEqual(*p, defaults) {
		t.Errorf("PolicyOn of an app never served: got %+v, want the defaults", p)
	}
}

// onPhones is a policy with a platform of its own kind.
var onPhones = Policy{Platforms: map[string]PlatformPolicy{
	"iOS": {HeartbeatTimeout: 12 * time.Second, Grace: 2 * time.Second}, "tv": {Grace: time.Second},
}}

func TestPlatforms(t *testing.T) {
	t.Parallel()
	p := onPhones.WithDefaults()
	for platform, want := range map[string][2]time.Duration{
		"ios": {12 * time.Second, 2 * time.Second}, "IOS": {12 * time.Second, 2 * time.Second},
		"TV": {35 * time.Second, time.Second}, "web": {35 * time.Second, 6 * time.Second}, "": {35 * time.Second, 6 * time.Second},
	} {
		a := newAppPolicy(p).on(platform)
		if on := p.On(platform); on.HeartbeatTimeout != want[0] || on.Grace != want[1] || a.HeartbeatTimeout != want[0] || a.Grace != want[1] {
			t.Errorf("%q: time-out %v, grace %v; want %v", platform, on.HeartbeatTimeout, on.Grace, want)
		}
	}
}

// Each platform has its own time-out, grace and interval.
func TestPlatformsAtWork(t *testing.T) {
	in(t, func(c *Config) { c.Policies[app] = onPhones }, func(t *testing.T, r *rig) {
		silent, _ := r.open(presence.Device{Platform: "Ios"})
		lost, w := r.open(presence.Device{Platform: "ios"})
		web, _ := r.open(presence.Device{Platform: "web"})
		h, err := r.tr.Heartbeat(t.Context(), silent)
		if err != nil || h.Within != 4*time.Second {
			t.Errorf("heartbeat of ios: within %v, %v; want 4s", h.Within, err)
		}
		r.tr.LinkLost(lost, w)
		wait(1900 * time.Millisecond)
		if p := r.phase(lost); p != presence.PhaseLost {
			t.Errorf("within the grace: %v, want lost", p)
		}
		wait(200 * time.Millisecond)
		if p := r.phase(lost); p != presence.PhaseClosed {
			t.Errorf("after the grace of ios: %v, want closed", p)
		}
		wait(10 * time.Second)
		if p := r.phase(silent); p != presence.PhaseClosed {
			t.Errorf("after the time-out of ios: %v, want closed", p)
		}
		if p := r.phase(web); p != presence.PhaseLive {
			t.Errorf("web, at that time: %v, want live", p)
		}
	})
}

// A shorter time-out counts at once, a longer one too.
func TestSetPoliciesMovesDeadlines(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		wait(5 * time.Second)
		r.tr.SetPolicies(map[presence.AppID]Policy{app: {HeartbeatTimeout: 10 * time.Second}})
		wait(4900 * time.Millisecond)
		if p := r.phase(ref); p != presence.PhaseLive {
			t.Errorf("before the new time-out: %v, want live", p)
		}
		wait(1200 * time.Millisecond)
		if p := r.phase(ref); p != presence.PhaseClosed {
			t.Errorf("after the new time-out: %v, want closed", p)
		}
		second, _ := r.open(presence.Device{})
		r.tr.SetPolicies(map[presence.AppID]Policy{app: {HeartbeatTimeout: time.Minute}})
		wait(59 * time.Second)
		if p := r.phase(second); p != presence.PhaseLive {
			t.Errorf("within the longer time-out: %v, want live", p)
		}
	})
}

// Sessions of an app that is served no more live on; nothing new begins there.
func TestSetPoliciesWithoutAnApp(t *testing.T) {
	in(t, func(c *Config) { c.Policies[app] = Policy{HeartbeatTimeout: 20 * time.Second} }, func(t *testing.T, r *rig) {
		ref, w := r.open(presence.Device{})
		changes := r.ear.heard()
		r.tr.SetPolicies(map[presence.AppID]Policy{"other": {}})
		if r.tr.Policy(app) != nil || r.tr.Policy("other") == nil {
			t.Error("Policy: want none of the former app, and one of the new")
		}
		if got := r.tr.PolicyOn(app, "").HeartbeatTimeout; got != 20*time.Second {
			t.Errorf("time-out of what is open: %v, want its last, 20s", got)
		}
		wait(19 * time.Second)
		w.read(r)
		wait(19 * time.Second)
		if p := r.phase(ref); p != presence.PhaseLive || r.ear.heard() != changes {
			t.Errorf("got %v and %d changes, want live and none", p, r.ear.heard()-changes)
		}
		_, err := r.tr.Make(t.Context(), MakeParams{User: bob})
		wantKind(t, "Make in the former app", err, fault.JWTInvalid)
		if _, err := r.tr.Make(t.Context(), MakeParams{User: presence.User{App: "other", ID: "bob"}}); err != nil {
			t.Errorf("Make in the new app: %v", err)
		}
		_, err = r.tr.Make(t.Context(), MakeParams{User: presence.User{App: "never", ID: "bob"}})
		wantKind(t, "Make in an app never served", err, fault.JWTInvalid)
		r.tr.SetPolicies(map[presence.AppID]Policy{app: {}})
		if _, err := r.tr.Make(t.Context(), MakeParams{User: bob}); err != nil {
			t.Errorf("Make when it is served again: %v", err)
		}
	})
}

// What an app used up stays used when its policy is set anew.
func TestSetPoliciesKeepsTheRate(t *testing.T) {
	in(t, func(c *Config) { c.Policies[app] = Policy{OpensPerSecond: 1} }, func(t *testing.T, r *rig) {
		r.make(presence.Device{})
		r.tr.SetPolicies(map[presence.AppID]Policy{app: {OpensPerSecond: 1}})
		_, err := r.tr.Make(t.Context(), MakeParams{User: bob})
		wantKind(t, "the second in a second", err, fault.RateLimited)
		r.tr.SetPolicies(map[presence.AppID]Policy{app: {}})
		r.make(presence.Device{})
	})
}

// Sessions of an app that was taken out while the node was down come to their
// end like others whose device does not come back.
func TestRestartWithoutAnApp(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		r.open(presence.Device{})
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r.mem = r.mem.Reopen()
		r.cfg.Policies = map[presence.AppID]Policy{"other": {}}
		r.start()
		wait(31 * time.Second)
		if f, _ := r.folded(bob); len(f.Sessions) != 1 || f.Sessions[0].Phase != presence.FoldClosed {
			t.Errorf("the log: got %+v, want the session closed", f.Sessions)
		}
	})
}

// BenchmarkPolicy is what finding a session's policy costs: with no platforms,
// and with one.
func BenchmarkPolicy(b *testing.B) {
	for name, p := range map[string]Policy{"app": {}, "platform": onPhones} {
		b.Run(name, func(b *testing.B) {
			tr := New(Config{Policies: map[presence.AppID]Policy{app: p}})
			s := &session{user: &user{name: bob}, device: &presence.Device{Platform: "iOS"}}
			b.ReportAllocs()
			for b.Loop() {
				tr.policy(s)
			}
		})
	}
}
