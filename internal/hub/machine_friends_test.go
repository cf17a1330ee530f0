package hub

import (
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// The part of the machine that is about lists of friends and who may see whom.

// underWay begins in the middle of things: somebody is online, watched by name,
// as a friend or as both, and everybody knows all. Few runs get there by chance.
func (m *machine) underWay() {
	for _, u := range machineUsers[:3] {
		m.count++
		status := m.say()
		m.world.tell(m.world.opens(u, number(m.count), &status))
	}
	for i, d := range m.devices {
		m.list(d.user.ID)["b"], m.list(d.user.ID)["c"] = true, true
		m.attach(i)
		m.ask(i, []presence.UserID{"a", "c"}, ScopeAll)
	}
	for i, d := range m.devices {
		m.must(m.followOf(i))
		for m.drainOf(i, 5) {
		}
		m.must(d.arrive(len(d.way)))
	}
}

func (m *machine) list(u presence.UserID) map[presence.UserID]bool {
	if m.lists[u] == nil {
		m.lists[u] = map[presence.UserID]bool{}
	}
	return m.lists[u]
}

func (m *machine) watchFriends(*rapid.T) { m.must(m.followOf(m.device())) }

func (m *machine) followOf(i int) error {
	d := m.devices[i]
	list := slices.Sorted(maps.Keys(m.list(d.user.ID)))
	already, err := d.watcher.WatchFriends(list)
	if err != nil || already != (d.friends != nil) {
		return fmt.Errorf("watch friends: already %v, want %v; error %v", already, d.friends != nil, err)
	}
	r := request{scope: ScopeFriends, users: len(list)}
	if already {
		d.expect(r, nil)
		return nil
	}
	d.friends = maps.Clone(m.list(d.user.ID))
	d.expect(r, list)
	return nil
}

func (m *machine) unwatchFriends(*rapid.T) {
	d := m.devices[m.device()]
	if was := d.watcher.UnwatchFriends(); was != (d.friends != nil) {
		m.t.Fatalf("unwatch friends: was %v, want %v", was, d.friends != nil)
	}
	parted := d.friends
	d.friends = nil
	for u := range parted {
		d.part(u)
	}
}

// part notes that a user is no longer watched as a friend.
func (d *device) part(u presence.UserID) {
	if !d.watched[u] {
		d.parted[u] = true
		d.forgo(u)
	}
}

// befriend changes a user's list, and tells the hub.
func (m *machine) befriend(*rapid.T) {
	user := m.devices[m.device()].user
	list := m.list(user.ID)
	var added, removed []presence.UserID
	for _, u := range distinct(rapid.SliceOfN(rapid.SampledFrom(machineUsers), 1, 3).Draw(m.t, "friends")) {
		if list[u] {
			delete(list, u)
			removed = append(removed, u)
		} else {
			list[u] = true
			added = append(added, u)
		}
	}
	m.world.hub.FriendsChanged(user, added, removed)
	for _, d := range m.devices {
		if d.user != user || d.friends == nil {
			continue
		}
		for _, u := range removed {
			delete(d.friends, u)
			d.part(u)
		}
		for _, u := range added {
			d.friends[u] = true
		}
	}
}

// veil takes somebody out of a watcher's sight, or back into it, or both.
func (m *machine) veil(*rapid.T) {
	user, target := m.devices[m.device()].user, m.user()
	for range rapid.IntRange(1, 3).Draw(m.t, "times") {
		seen, veiled := m.world.veiled(user, target)
		m.world.veil(user.ID, target, !veiled)
		for _, d := range m.devices {
			if _, known := d.frozen[target]; d.user == user && veiled && !known {
				d.frozen[target] = seen
			}
		}
	}
}
