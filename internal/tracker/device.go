package tracker

import "github.com/porchlight-dev/porchlight/internal/presence"

// OfDevice finds the newest session of a user that is live or lost and whose
// device match accepts: for interfaces whose devices name themselves and have no
// session token. match is called with a lock held.
func (t *Tracker) OfDevice(name presence.User, match func(*presence.Device) bool) (ref Ref, public presence.PublicID, ok bool) {
	sh := t.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.known(name)
	if u == nil {
		return Ref{}, presence.PublicID{}, false
	}
	for i := len(u.sessions) - 1; i >= 0; i-- {
		if s := u.sessions[i]; s.phase.Open() && !s.dead && match(s.device) {
			return Ref{name, s.id}, s.public, true
		}
	}
	return Ref{}, presence.PublicID{}, false
}
