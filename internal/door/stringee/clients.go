package stringee

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// client is a live connection of a user, at any door and node, as this interface
// names it.
type client struct {
	ID      string `json:"clientId"`
	Browser string `json:"browserId"`

	session presence.PublicID
}

// clientsOf are those of a user, in the order of their coming. They are made of his
// sessions alone; what a server said of him is none.
func clientsOf(p *presence.Presence) []client {
	var list []client
	for _, v := range p.Sessions {
		if !v.True.Open() || strings.HasPrefix(v.Device.ID, presence.ServedDevice) {
			continue
		}
		c := client{ID: v.Device.ID, session: v.Public}
		if c.ID == "" {
			c.ID = v.Public.String()
		}
		if v.Device.Door == Name {
			_, c.Browser, _ = strings.Cut(v.Device.Version, " ")
		}
		list = append(list, c)
	}
	return list
}

// deviceOf is the record of a client. Mind clientsOf.
func deviceOf(q *authen, addr string) (presence.Device, *refusal) {
	d := presence.Device{ID: q.DeviceID, Version: strings.TrimSpace(q.SDKVersion + " " + q.BrowserID), Addr: addr, Door: Name}
	if q.Platform == platformWeb {
		d.Platform = "web"
	}
	for _, one := range []struct{ name, text string }{{"deviceId", q.DeviceID}, {"browserId", q.BrowserID}, {"sdkVersion", q.SDKVersion}} {
		if len(one.text) > maxWord || !word(one.text) {
			return d, refuse(codeBad, "%s must be up to %d visible characters of ASCII", one.name, maxWord)
		}
	}
	if q.SDKVersion == "" && q.BrowserID != "" {
		d.Version = "- " + q.BrowserID
	}
	return d, nil
}

// maxWord is the most that a client may say of each of its ids; those of the
// client that is published have 40 and 44 characters.
const maxWord = 64

// platformWeb is the one platform whose number is known.
const platformWeb = 3

func word(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// clients are the connections of this door by their users, to be woken.
type clients struct {
	count  atomic.Int64
	shards [clientShards]clientShard
}

const clientShards = 64

type clientShard struct {
	mu sync.RWMutex // guards of
	of map[presence.User][]*conn
}

func (c *clients) init() {
	for i := range c.shards {
		c.shards[i].of = map[presence.User][]*conn{}
	}
}

func (c *clients) shard(user presence.User) *clientShard {
	return &c.shards[store.Shard(user)%clientShards]
}

func (c *clients) enter(user presence.User, one *conn) {
	c.count.Add(1)
	sh := c.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.of[user] = append(sh.of[user], one)
}

func (c *clients) leave(user presence.User, one *conn) {
	sh := c.shard(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := slices.Index(sh.of[user], one)
	if i < 0 {
		return
	}
	c.count.Add(-1)
	if sh.of[user] = slices.Delete(sh.of[user], i, i+1); len(sh.of[user]) == 0 {
		delete(sh.of, user)
	}
}

// wake makes the connections of a user look at his picture.
func (c *clients) wake(user presence.User) {
	if c.count.Load() == 0 {
		return
	}
	sh := c.shard(user)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, one := range sh.of[user] {
		one.sock.Wake()
	}
}
