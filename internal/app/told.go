package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	grants "github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/topic"
)

// What nodes tell each other beside sessions.
const (
	topicOfTopics = "topic"
	topicOfLists  = "list"
	topicOfGrants = "grant"
	topicOfMail   = "mail"
)

// tellOthers gives b to all other nodes, if there are any.
func (a *App) tellOthers(topic string, b []byte) {
	if a.nodes.cluster == nil {
		return
	}
	if err := a.nodes.cluster.Tell(topic, b); err != nil {
		a.log.Warn("the other nodes cannot be told", "topic", topic, "error", err)
	}
}

// toldTopics brings what is published at other nodes to the subscribers here.
type toldTopics struct{ a *App }

// Told implements cluster.Topic.
func (t toldTopics) Told(_ uint64, b []byte) {
	m, err := topic.ParseMessage(b)
	if err != nil {
		t.a.log.Error("another node told a topic message that cannot be read", "error", err)
		return
	}
	t.a.topics.Deliver(m)
}

// Missed implements cluster.Topic: what is told in topics is told live, at most once.
func (t toldTopics) Missed(uint64) {}

// toldLists has friend lists asked for again that a backend pushed to another node.
type toldLists struct{ a *App }

// Told implements cluster.Topic.
func (t toldLists) Told(_ uint64, b []byte) {
	app, rest, err := presence.ParseText(b)
	if err != nil {
		return
	}
	if id, _, err := presence.ParseText(rest); err == nil {
		t.a.roster.Reread(presence.User{App: presence.AppID(app), ID: presence.UserID(id)})
	}
}

// Missed implements cluster.Topic.
func (t toldLists) Missed(uint64) { t.a.roster.Missed() }

// tellList tells of a pushed friend list.
func (a *App) tellList(user presence.User) {
	a.tellOthers(topicOfLists, presence.AppendText(presence.AppendText(nil, string(user.App)), string(user.ID)))
}

// hearStored keeps what is known of one kind of values as it stands in the store,
// whoever writes it, until ctx ends.
func (a *App) hearStored(ctx context.Context, kind store.RosterKind) {
	for {
		err := a.store.WatchRosters(ctx, kind, func(c store.RosterChange) error {
			switch {
			case c.Mark == 0: // from now on
				if kind == store.RosterRevoked {
					return a.revocations.Start(ctx)
				}
				a.roster.Missed()
			case kind == store.RosterRevoked:
				a.revocations.Stored(c)
			default:
				a.roster.Stored(kind, c)
			}
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		a.log.Warn("what other nodes store is not heard of; it is tried again", "error", err)
		timer := time.NewTimer(time.Second)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// Where the keys of session tokens are: in the data directory of a single node,
// and by that name in the store of several.
const ringName, sharedKeys = "session-keys", "sessions"

// sharedRing is the keys of session tokens that all nodes have.
func (a *App) sharedRing(ctx context.Context) (*token.Ring, error) {
	for {
		v, err := a.store.LoadName(ctx, store.NameKeys, sharedKeys)
		if err != nil {
			return nil, fmt.Errorf("session keys: %w", err)
		}
		if v.Value == nil {
			v = store.Named{Name: sharedKeys, Value: token.NewKeyText(), Revision: v.Revision}
			if _, err = a.store.SaveName(ctx, store.NameKeys, v); errors.Is(err, store.ErrMoved) {
				continue // another node made them
			}
			if err != nil {
				return nil, fmt.Errorf("session keys: %w", err)
			}
		}
		ring, err := token.ParseRing(v.Value)
		if err != nil {
			return nil, fmt.Errorf("session keys in the store: %w", err)
		}
		return ring, nil
	}
}

// tellTopic tells the other nodes of what is published here; nil: there are none.
func (a *App) tellTopic() func(*topic.Message) {
	if a.nodes.cluster == nil {
		return nil
	}
	return func(m *topic.Message) { a.tellOthers(topicOfTopics, topic.AppendMessage(nil, m)) }
}

// tellGrant tells of what a user granted, or of a publisher.
func (a *App) tellGrant(c grants.Change) {
	if b, err := json.Marshal(c); err == nil {
		a.tellOthers(topicOfGrants, b)
	}
}

// mostGrants is how many changes of grants wait for the store at most; of more it is as
// if they had been missed.
const mostGrants = 1024

// toldGrants hears of what users granted at other nodes. What follows from it waits for
// the store, and the log of the node that tells it must not stand still for that: its
// sessions come behind it.
type toldGrants struct {
	a       *App
	waiting chan grants.Change
}

// newToldGrants returns one that does nothing before run.
func newToldGrants(a *App) toldGrants {
	return toldGrants{a, make(chan grants.Change, mostGrants)}
}

// Told implements cluster.Topic.
func (t toldGrants) Told(_ uint64, b []byte) {
	var c grants.Change
	if json.Unmarshal(b, &c) != nil || !t.a.ready.Load() {
		return // nothing is kept before
	}
	select {
	case t.waiting <- c:
	default:
		t.Missed(0)
	}
}

// run does what follows, in the order in which it was told, until ctx ends.
func (t toldGrants) run(ctx context.Context) {
	for {
		select {
		case c := <-t.waiting:
			limited, cancel := context.WithTimeout(ctx, scrapeLimit)
			t.a.grants.Heard(limited, c)
			cancel()
		case <-ctx.Done():
			return
		}
	}
}

// Missed implements cluster.Topic: what is kept of grants is a second old at most,
// but publishers that are connected here must hear of revocations.
func (t toldGrants) Missed(uint64) {
	if t.a.ready.Load() {
		t.a.foreign.mozpresence.Missed()
	}
}
