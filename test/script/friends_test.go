package script

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/roster"
)

// backend is what the product's own servers do: lists and blocks.
var backend = map[string]func(*story, *step) []string{
	"befriend": befriend, "unfriend": unfriend, "fill": fill, "list": list,
	"block": block, "unblock": unblock, "source": foreign, "push": push,
	"put": put, "remove": remove, "drop": drop, "erase": erase, "sessions": sessions, "rongcloud": rongcloud, "tencent": tencent, "kick": kick,
	"receiver": receiver, "webhook": hooked, "replay": replay, "resend": resend, "changes": changes,
}

func named(id string) presence.User { return presence.User{App: "demo", ID: presence.UserID(id)} }

func ids(words []string) (users []presence.UserID) {
	for _, w := range words {
		users = append(users, presence.UserID(w))
	}
	return users
}

func (s *story) roster() *roster.Roster { return s.server.app.Roster() }

// each makes one change for each word after the first, and says what did not
// change, or was refused.
func (s *story) each(st *step, f func(user presence.User, other presence.UserID) (bool, error)) (out []string) {
	for _, other := range ids(st.words[1:]) {
		changed, err := f(named(st.word(0)), other)
		switch {
		case err != nil:
			reason, _, _ := strings.Cut(err.Error(), ":")
			out = append(out, fmt.Sprintf("%s: %s", other, reason))
		case !changed:
			out = append(out, fmt.Sprintf("%s: as before", other))
		}
	}
	return out
}

func befriend(s *story, st *step) []string {
	return s.each(st, func(u presence.User, other presence.UserID) (bool, error) {
		return s.roster().Add(s.t.Context(), u, other, st.options["both"] == "true")
	})
}

func unfriend(s *story, st *step) []string {
	return s.each(st, func(u presence.User, other presence.UserID) (bool, error) {
		return s.roster().Remove(s.t.Context(), u, other, st.options["both"] == "true")
	})
}

func block(s *story, st *step) []string {
	return s.each(st, func(u presence.User, other presence.UserID) (bool, error) {
		return s.roster().Block(s.t.Context(), u, other)
	})
}

func unblock(s *story, st *step) []string {
	return s.each(st, func(u presence.User, other presence.UserID) (bool, error) {
		return s.roster().Unblock(s.t.Context(), u, other)
	})
}

// fill makes a list of `count` friends, friend00000 and on.
func fill(s *story, st *step) []string {
	var friends []presence.UserID
	for i := range st.number(s.t, "count") {
		friends = append(friends, presence.UserID(fmt.Sprintf("friend%05d", i)))
	}
	added, removed, err := s.roster().Replace(s.t.Context(), named(st.word(0)), friends)
	if err != nil {
		reason, _, _ := strings.Cut(err.Error(), ":")
		return []string{reason}
	}
	return []string{fmt.Sprintf("added %d, removed %d", added, removed)}
}

func list(s *story, st *step) []string {
	friends, err := s.roster().Friends(s.t.Context(), named(st.word(0)))
	if err != nil {
		reason, _, _ := strings.Cut(err.Error(), ":")
		return []string{reason}
	}
	return []string{fmt.Sprint(friends)}
}

// source is where friend lists are when they are not the server's.
type source struct {
	mu    sync.Mutex // guards all below
	lists map[presence.UserID][]presence.UserID
	down  bool
}

// Friends implements roster.Source.
func (s *source) Friends(_ context.Context, user presence.User) ([]presence.UserID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("the story has it down")
	}
	return s.lists[user.ID], nil
}

// foreign is what happens at the source: down, up, or a user with his list.
func foreign(s *story, st *step) []string {
	v := s.server.source
	v.mu.Lock()
	defer v.mu.Unlock()
	switch word := st.word(0); word {
	case "down", "up":
		v.down = word == "down"
	default:
		v.lists[presence.UserID(word)] = ids(st.words[1:])
	}
	return nil
}

// push is the source telling of a change.
func push(s *story, st *step) []string {
	var added, removed []presence.UserID
	if a := st.options["add"]; a != "" {
		added = ids(strings.Split(a, ","))
	}
	if r := st.options["remove"]; r != "" {
		removed = ids(strings.Split(r, ","))
	}
	if err := s.roster().Push(s.t.Context(), named(st.word(0)), added, removed); err != nil {
		return []string{err.Error()}
	}
	return nil
}

func watchFriends(s *story, st *step) string {
	c := s.caller(st)
	req := &isonlinev1.SubscribeToFriendsIsOnlineRequest{SessionToken: c.token}
	return call(c, c.client.SubscribeToFriendsIsOnline, req, func(r *isonlinev1.SubscribeToFriendsIsOnlineResponse) string {
		say := fmt.Sprintf("%d friends", r.GetFriends())
		if r.GetAlreadySubscribed() {
			say += ", already subscribed"
		}
		return say
	})
}

func unwatchFriends(s *story, st *step) string {
	c := s.caller(st)
	req := &isonlinev1.UnsubscribeFromFriendsIsOnlineRequest{SessionToken: c.token}
	return call(c, c.client.UnsubscribeFromFriendsIsOnline, req, func(r *isonlinev1.UnsubscribeFromFriendsIsOnlineResponse) string {
		if !r.GetWasSubscribed() {
			return "was not subscribed"
		}
		return ""
	})
}

// tally counts a device's notifications instead of printing them, and keeps what
// else it was sent: for what is much, or comes at a time that is chance.
type tally struct {
	mu    sync.Mutex // guards all below
	on    bool
	count map[string]int
	users map[string]bool
	other []string
}

// add reports whether it counted m, which is written so.
func (t *tally) add(m *isonlinev1.ConnectToIsOnlineSessionResponse, written string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := m.GetNotification()
	switch {
	case !t.on || m.GetKeepAlive() != nil:
	case n == nil:
		t.other = append(t.other, written)
	default:
		t.count[short(n.GetUserFlag().String(), "USER_FLAG_")]++
		t.users[n.GetUserId()] = true
	}
	return t.on
}

// counted begins to count, or says what was counted since.
func (d *device) counted(begin bool) []string {
	t := &d.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.on = begin; begin {
		t.count, t.users, t.other = map[string]int{}, map[string]bool{}, nil
		return nil
	}
	return append([]string{fmt.Sprintf("%s was told of %d users: %d × ONLINE, %d × OFFLINE", d.name, len(t.users), t.count["ONLINE"], t.count["OFFLINE"])}, t.other...)
}
