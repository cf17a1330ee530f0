package tracker

import (
	"maps"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Policy is how an app's sessions live (design §4). A zero field means its
// default.
type Policy struct {
	HeartbeatTimeout time.Duration // 35 s; includes the grace
	Grace            time.Duration // 6 s
	ResumeWindow     time.Duration // 2 min
	ConnectBefore    time.Duration // 60 s
	MultiDevice      presence.MultiDevice
	SessionsPerUser  int     // 16
	OpensPerSecond   float64 // 0: no limit
	// Platforms has what differs on devices of a platform, by its name in any
	// case.
	Platforms map[string]PlatformPolicy
	// TellCustom writes each new text of a status to the log: some interface of
	// the app reports it.
	TellCustom bool
	// TellShow does the same for each change between online, away and busy: the
	// Mozilla interface reports those.
	TellShow bool
}

// PlatformPolicy is what differs on one platform. A zero field is as in the
// app's policy.
type PlatformPolicy struct {
	HeartbeatTimeout time.Duration
	Grace            time.Duration
}

// Defaults of a policy.
var defaults = Policy{
	HeartbeatTimeout: 35 * time.Second,
	Grace:            6 * time.Second,
	ResumeWindow:     2 * time.Minute,
	ConnectBefore:    time.Minute,
	SessionsPerUser:  16,
}

// WithDefaults fills the zero fields.
func (p Policy) WithDefaults() Policy {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&p.HeartbeatTimeout, defaults.HeartbeatTimeout)
	set(&p.Grace, defaults.Grace)
	set(&p.ResumeWindow, defaults.ResumeWindow)
	set(&p.ConnectBefore, defaults.ConnectBefore)
	if p.SessionsPerUser == 0 {
		p.SessionsPerUser = defaults.SessionsPerUser
	}
	return p
}

// On is the policy for devices of a platform. p has its defaults.
func (p Policy) On(platform string) Policy {
	for name, d := range p.Platforms {
		if !strings.EqualFold(name, platform) {
			continue
		}
		if d.HeartbeatTimeout != 0 {
			p.HeartbeatTimeout = d.HeartbeatTimeout
		}
		if d.Grace != 0 {
			p.Grace = d.Grace
		}
		break
	}
	return p
}

// memory is how much longer than the resume window a close is remembered.
func (p *Policy) memory() time.Duration { return p.HeartbeatTimeout + lateReader }

// appPolicy is a policy with what it counts.
type appPolicy struct {
	Policy
	platforms []onPlatform
	opens     *rate.Limiter // nil: no limit
	gone      bool          // the app is not served any more
}

// onPlatform is the whole policy for one platform.
type onPlatform struct {
	name string
	Policy
}

func newAppPolicy(p Policy) *appPolicy {
	a := &appPolicy{Policy: p.WithDefaults()}
	if p.OpensPerSecond > 0 {
		a.opens = rate.NewLimiter(rate.Limit(p.OpensPerSecond), max(1, int(p.OpensPerSecond)))
	}
	for name := range a.Platforms {
		a.platforms = append(a.platforms, onPlatform{name, a.Policy.On(name)})
	}
	return a
}

// on is the policy for devices of a platform.
func (a *appPolicy) on(platform string) *Policy {
	for i := range a.platforms {
		if strings.EqualFold(a.platforms[i].name, platform) {
			return &a.platforms[i].Policy
		}
	}
	return &a.Policy
}

// policies are those of all apps. They are replaced as a whole and never changed,
// so reading takes no lock.
type policies map[presence.AppID]*appPolicy

// unserved is the policy of an app that this node never served: of its sessions
// that were found at the start, and that close when nobody comes for them.
var unserved = &appPolicy{Policy: defaults, gone: true}

func (t *Tracker) appPolicy(app presence.AppID) *appPolicy {
	if p := (*t.policies.Load())[app]; p != nil {
		return p
	}
	return unserved
}

// policy is how a session lives now.
func (t *Tracker) policy(s *session) *Policy {
	return t.appPolicy(s.user.name.App).on(s.device.Platform)
}

// Policy returns the policy of an app, or nil when there is no such app.
func (t *Tracker) Policy(app presence.AppID) *Policy {
	if p := t.appPolicy(app); !p.gone {
		return &p.Policy
	}
	return nil
}

// PolicyOn returns how sessions of a platform's devices live in an app, also in
// one that is not served any more.
func (t *Tracker) PolicyOn(app presence.AppID, platform string) *Policy {
	return t.appPolicy(app).on(platform)
}

// SetPolicies replaces the policies of all apps. Sessions that are open live on
// by the new ones from now on; their present deadlines in grace and after a
// close stay. An app that is not among them is served no more: Policy does not
// have it, and its sessions live on by its last policy.
func (t *Tracker) SetPolicies(all map[presence.AppID]Policy) {
	old := *t.policies.Load()
	next := make(policies, len(all))
	for app, p := range all {
		a := newAppPolicy(p)
		t.tallies.app(app)
		if was := old[app]; was != nil && was.opens != nil && a.opens != nil {
			// What was used of this second stays used.
			a.opens = was.opens
			a.opens.SetLimit(rate.Limit(p.OpensPerSecond))
			a.opens.SetBurst(max(1, int(p.OpensPerSecond)))
		}
		next[app] = a
	}
	for app, p := range old {
		if next[app] == nil {
			past := *p
			past.gone = true
			next[app] = &past
		}
	}
	changed := map[presence.AppID]bool{}
	for app, p := range next {
		changed[app] = old[app] == nil || !sameTimeouts(&old[app].Policy, &p.Policy)
	}
	t.policies.Store(&next)
	t.rearm(changed)
}

func sameTimeouts(a, b *Policy) bool {
	return a.HeartbeatTimeout == b.HeartbeatTimeout && maps.Equal(a.Platforms, b.Platforms)
}

// rearm sets the deadlines of live sessions anew: under a shorter time-out they
// would come too late.
func (t *Tracker) rearm(apps map[presence.AppID]bool) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		for name, u := range sh.users {
			if !apps[name.App] {
				continue
			}
			for _, s := range u.sessions {
				if s.phase == presence.PhaseLive && !s.dead && !s.foreign && s.life.ttl == 0 {
					t.arm(s)
				}
			}
		}
		sh.mu.Unlock()
	}
}
