package facts

import (
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// fold is the present of many users in little memory: each as the bytes that
// presence.AppendFolded writes, without his name, under a hash of it. A user who
// is away costs about 70 bytes, one with a session about 250. It is not safe
// for concurrent use.
type fold struct {
	users   map[key]string
	crowds  map[key]*presence.Folded // those with many sessions, as they are
	seed    maphash.Seed
	fading  []fading // in the order of at
	scratch []byte
	names   map[key]presence.User // nil unless somebody wants to list them

	// nameless are those whom a base has without their names, since they were
	// erased later, and who were not met by name yet; stripped are those whose
	// sessions it has without their devices.
	nameless map[uint64]bool
	stripped map[key]bool
	bytes    int // about what names and users take
}

// key stands for a user: 128 bits of two hashes, one of which nobody outside
// can compute.
type key struct{ mark, hash uint64 }

// fading is a user who will need less memory a while after `at`.
type fading struct {
	key key
	at  presence.Time
}

// faded is when a closed session, or the time of an erasure, may be forgotten:
// a little after presence says so, since clocks differ.
const faded = presence.KeepClosed + time.Minute

// crowded is from how many sessions on a user is kept as he is: who comes and goes
// every few seconds has hundreds that closed within the hour, and to write and
// read them all for each of his records would hold up everybody.
const crowded = 16

// perSession is about what a session of a crowd takes.
const perSession = 400

func newFold() *fold {
	return &fold{users: map[key]string{}, crowds: map[key]*presence.Folded{}, seed: maphash.MakeSeed()}
}

func (f *fold) key(user presence.User) key {
	var h maphash.Hash
	h.SetSeed(f.seed)
	h.WriteString(string(user.App))
	h.WriteByte(0)
	h.WriteString(string(user.ID))
	return key{store.UserMark(user), h.Sum64()}
}

// get returns a user, whose sessions are good until the next put of him.
func (f *fold) get(k key) (u presence.Folded, err error) {
	if crowd := f.crowds[k]; crowd != nil {
		return *crowd, nil
	}
	s, ok := f.users[k]
	if !ok {
		return u, nil
	}
	f.scratch = append(f.scratch[:0], s...)
	_, p, _, err := presence.ParseFolded(f.scratch)
	if err != nil {
		return u, fmt.Errorf("facts: the fold cannot be read back: %w", err)
	}
	return *p, nil
}

// put keeps u, or forgets him when nothing is known of him.
func (f *fold) put(k key, u *presence.Folded) {
	if u.Seq == 0 && len(u.Sessions) == 0 && u.Erased == 0 && u.LastSeen == 0 && u.LastSeenShown == 0 && len(u.Absent) == 0 {
		f.drop(k)
		delete(f.names, k)
		return
	}
	f.drop(k)
	if len(u.Sessions) >= crowded {
		all := *u
		f.crowds[k] = &all
		f.bytes += perSession * len(u.Sessions)
		return
	}
	f.scratch = presence.AppendFolded(f.scratch[:0], presence.User{}, u)
	f.bytes += len(f.scratch)
	f.users[k] = string(f.scratch)
}

// drop forgets what is kept of a user, but for his name.
func (f *fold) drop(k key) {
	f.bytes -= len(f.users[k])
	delete(f.users, k)
	if crowd := f.crowds[k]; crowd != nil {
		f.bytes -= perSession * len(crowd.Sessions)
		delete(f.crowds, k)
	}
}

// perName is about what a user takes besides his bytes, with names.
const perName = 150

// name remembers whose key it is, if that is wanted.
func (f *fold) name(k key, user presence.User) {
	if f.names == nil {
		return
	}
	if _, ok := f.names[k]; !ok {
		f.names[k] = presence.User{App: user.App, ID: presence.UserID(strings.Clone(string(user.ID)))}
		f.bytes += perName + len(user.ID)
	}
}

// set puts a user as a base has him.
func (f *fold) set(user presence.User, u *presence.Folded, at presence.Time) {
	k := f.key(user)
	if mark, ok := store.NamelessMark(user); ok {
		k = key{mark: mark}
		if f.nameless == nil {
			f.nameless, f.stripped = map[uint64]bool{}, map[key]bool{}
		}
		f.nameless[mark] = true
	} else {
		f.name(k, user)
	}
	f.put(k, u)
	fades := u.Erased != 0
	for i := range u.Sessions {
		fades = fades || u.Sessions[i].Phase != presence.FoldOpen
	}
	if fades {
		f.fading = append(f.fading, fading{k, at})
	}
}

// apply folds one record and appends what it concludes.
func (f *fold) apply(r *presence.Record, facts []presence.Fact) ([]presence.Fact, error) {
	k := f.key(r.User)
	if len(f.nameless) > 0 && f.nameless[k.mark] {
		f.meet(k)
	}
	u, err := f.get(k)
	if err != nil {
		return facts, err
	}
	if len(f.stripped) > 0 && f.stripped[k] {
		bare := *r
		bare.Device = r.Device.Stripped(r.User)
		r = &bare
	}
	had := len(facts)
	facts = u.Apply(r, facts)
	if r.Kind == presence.RecordErased && len(u.Sessions) == 0 {
		delete(f.stripped, k) // not when it is one that the base had already
	}
	f.name(k, r.User)
	f.put(k, &u)
	if r.Kind == presence.RecordClosed || r.Kind == presence.RecordErased || len(facts)-had != 1 {
		f.fading = append(f.fading, fading{k, r.Time})
	}
	return facts, f.fade(r.Time)
}

// meet puts a user who had no name under the key that is his by name.
func (f *fold) meet(k key) {
	was := key{mark: k.mark}
	delete(f.nameless, k.mark)
	if crowd := f.crowds[was]; crowd != nil {
		f.crowds[k] = crowd
		f.stripped[k] = true
		delete(f.crowds, was)
	}
	if s, ok := f.users[was]; ok {
		f.users[k] = s
		// Who has no session either is only known to have been erased.
		_, u, _, err := presence.ParseFolded([]byte(s))
		if err == nil && len(u.Sessions) > 0 {
			f.stripped[k] = true
		}
		delete(f.users, was)
	}
	for i := range f.fading {
		if f.fading[i].key == was {
			f.fading[i].key = k
		}
	}
}

// fade makes those smaller whose time has come, a few at a time.
func (f *fold) fade(now presence.Time) error {
	for range 3 {
		if len(f.fading) == 0 || now.Sub(f.fading[0].at) < faded {
			return nil
		}
		k := f.fading[0].key
		f.fading = f.fading[1:]
		u, err := f.get(k)
		if err != nil {
			return err
		}
		if u.Forget(now); f.users[k] != "" || f.crowds[k] != nil {
			f.put(k, &u)
		}
	}
	return nil
}
