package rest

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// listBody bounds a body with a whole list: 10,000 names of 128 bytes, with what
// JSON adds.
const listBody = 4 << 20

// OfFriend is the friend in the path.
type OfFriend struct {
	FID string `path:"fid" doc:"The friend's user id, percent-encoded." example:"bob"`
}

// Resolve refuses what cannot be a user's id.
func (f *OfFriend) Resolve(huma.Context) []error { return checkUser("path.fid", f.FID) }

// OfOther is the blocked user in the path.
type OfOther struct {
	Other string `path:"other" doc:"The blocked user's id, percent-encoded." example:"mallory"`
}

// Resolve refuses what cannot be a user's id.
func (o *OfOther) Resolve(huma.Context) []error { return checkUser("path.other", o.Other) }

// Direction says whose lists change.
type Direction struct {
	Direction string `query:"direction" enum:"one,both" default:"one" doc:"one: the user's list alone; both: the friend's list as well."`
}

func (d *Direction) both() bool { return d.Direction == "both" }

// FriendsPage is a page of a friend list.
type FriendsPage struct {
	Friends []string `json:"friends" nullable:"false" doc:"User ids, in the order of the list." example:"[\"bob\",\"carol\"]"`
	Next    string   `json:"next,omitempty" doc:"Where to go on; missing at the end." example:"AWYCA2JvYg"`
}

// BlocksPage is a page of whom a user blocks.
type BlocksPage struct {
	Blocks []string `json:"blocks" nullable:"false" doc:"User ids, in the order of the blocks." example:"[\"mallory\"]"`
	Next   string   `json:"next,omitempty" doc:"Where to go on; missing at the end." example:"AWIBB21hbGxvcnk"`
}

// FriendList is a whole friend list.
type FriendList struct {
	Friends []string `json:"friends" nullable:"false" doc:"User ids; one that stands twice counts once." example:"[\"bob\",\"carol\"]"`
}

// ListChange says what a whole list did.
type ListChange struct {
	Added   int `json:"added" doc:"Who was not on the list before." example:"2"`
	Removed int `json:"removed" doc:"Who was on it and is no more." example:"0"`
}

// Changed says what a write did.
type Changed struct {
	Changed bool `json:"changed" doc:"It was not so before."`
}

// FriendChange is what the app's backend changed of one list.
type FriendChange struct {
	User    string   `json:"user" doc:"Whose list." example:"alice"`
	Added   []string `json:"added,omitempty" nullable:"false" doc:"Who came onto it." example:"[\"bob\"]"`
	Removed []string `json:"removed,omitempty" nullable:"false" doc:"Who went from it."`
	Reread  bool     `json:"reread,omitempty" doc:"Ask friends.url for the whole list again, instead of the above."`
}

// FriendChanges are changes of lists.
type FriendChanges struct {
	Changes []FriendChange `json:"changes" nullable:"false" minItems:"1" maxItems:"1000" doc:"In the order in which they happened."`
}

// Taken says how many changes were taken.
type Taken struct {
	Taken int `json:"taken" doc:"How many changes were taken." example:"1"`
}

type (
	listIn struct {
		OfUser
		Page
	}
	friendsOut    struct{ Body FriendsPage }
	blocksOut     struct{ Body BlocksPage }
	replaceListIn struct {
		OfUser
		Body FriendList
	}
	replaceListOut struct{ Body ListChange }
	friendIn       struct {
		OfUser
		OfFriend
		Direction
	}
	blockIn struct {
		OfUser
		OfOther
	}
	changedOut struct{ Body Changed }
	pushIn     struct{ Body FriendChanges }
	pushOut    struct{ Body Taken }
)

func (d *Door) registerFriends() {
	listed := []fault.Kind{fault.FriendsUnavailable}
	written := []fault.Kind{fault.FriendsUnavailable, fault.LimitFriends, fault.NodeUnavailable}
	taken := []fault.Kind{fault.FriendsUnavailable, fault.NodeUnavailable}
	register(d, operation{
		id: "listFriends", method: http.MethodGet, path: "/users/{id}/friends", tag: "friends",
		summary: "List a user's friends", text: "In pages. Where friends.source is http the list is the app's own, as it was last asked for.",
		answers: map[string]any{"friends": []string{"bob", "carol"}}, faults: listed,
	}, d.listFriends)
	register(d, operation{
		id: "replaceFriends", method: http.MethodPut, path: "/users/{id}/friends", tag: "friends",
		summary: "Replace a user's friend list",
		text:    "The whole list, up to limits.friends (10,000). It is stored before the answer, and sessions that follow the list are told what changed. Friends' own lists stay as they are. Where friends.source is http the list cannot be written.",
		asks:    map[string]any{"friends": []string{"bob", "carol"}}, answers: map[string]any{"added": 2, "removed": 0}, faults: written, body: listBody,
	}, d.replaceFriends)
	register(d, operation{
		id: "addFriend", method: http.MethodPut, path: "/users/{id}/friends/{fid}", tag: "friends",
		summary: "Add a friend", text: "Puts a user on the list, at its end; with direction=both on each other's. Who is on it already is answered with changed false. Nobody need have been seen before.",
		answers: map[string]any{"changed": true}, faults: written,
	}, d.addFriend)
	register(d, operation{
		id: "removeFriend", method: http.MethodDelete, path: "/users/{id}/friends/{fid}", tag: "friends",
		summary: "Remove a friend", text: "Takes a user off the list; with direction=both off each other's. Who is not on it is answered with changed false.",
		answers: map[string]any{"changed": true}, faults: taken,
	}, d.removeFriend)
	register(d, operation{
		id: "pushFriends", method: http.MethodPost, path: "/friends/changes", tag: "friends",
		summary: "Tell what changed on lists of the app's own",
		text: "For apps whose friends.source is http: what their backend changed holds at once for sessions that follow, without waiting for friends.max_age. " +
			"Sent again it changes nothing. After an error the changes before the one in its location were taken. Where the lists are ours it is refused with FIELD_INVALID.",
		asks: map[string]any{"changes": []any{
			map[string]any{"user": "alice", "added": []string{"bob"}, "removed": []string{"carol"}}, map[string]any{"user": "dave", "reread": true},
		}},
		answers: map[string]any{"taken": 2}, faults: written, body: listBody,
	}, d.pushFriends)
	register(d, operation{
		id: "listBlocks", method: http.MethodGet, path: "/users/{id}/blocks", tag: "friends",
		summary: "List whom a user blocks", text: "In pages.",
		answers: map[string]any{"blocks": []string{"mallory"}}, faults: listed,
	}, d.listBlocks)
	register(d, operation{
		id: "block", method: http.MethodPut, path: "/users/{id}/blocks/{other}", tag: "friends",
		summary: "Block a user",
		text:    "From now on the other sees this user as offline, with the last seen of this moment; this user may still see the other. What server keys read does not change. A user may block as many as limits.friends.",
		answers: map[string]any{"changed": true}, faults: written,
	}, d.block)
	register(d, operation{
		id: "unblock", method: http.MethodDelete, path: "/users/{id}/blocks/{other}", tag: "friends",
		summary: "End a block", text: "The other sees the user as he is. Who is not blocked is answered with changed false.",
		answers: map[string]any{"changed": true}, faults: taken,
	}, d.unblock)
}

// part is the page of a list that is asked for. A place is an index with the
// name before it: when the list changed meanwhile the name decides.
func part(kind byte, list []presence.UserID, in *Page) (ids []string, next string, err error) {
	at, last, err := readPlace(kind, in.Next)
	if err != nil {
		return nil, "", err
	}
	if last != "" && (at == 0 || at > len(list) || list[at-1] != last) {
		if i := slices.Index(list, last); i >= 0 {
			at = i + 1
		}
	}
	at = min(at, len(list))
	end := min(at+in.most(), len(list))
	ids = make([]string, 0, end-at)
	for _, id := range list[at:end] {
		ids = append(ids, string(id))
	}
	if end < len(list) {
		next = writePlace(kind, end, list[end-1])
	}
	return ids, next, nil
}

func (d *Door) listFriends(ctx context.Context, in *listIn) (*friendsOut, error) {
	list, err := d.cfg.Roster.Friends(ctx, in.of(ctx))
	if err != nil {
		return nil, err
	}
	out := &friendsOut{}
	out.Body.Friends, out.Body.Next, err = part(placeFriends, list, &in.Page)
	return out, err
}

func (d *Door) listBlocks(ctx context.Context, in *listIn) (*blocksOut, error) {
	list, err := d.cfg.Roster.Blocks(ctx, in.of(ctx))
	if err != nil {
		return nil, err
	}
	out := &blocksOut{}
	out.Body.Blocks, out.Body.Next, err = part(placeBlocks, list, &in.Page)
	return out, err
}

func (d *Door) replaceFriends(ctx context.Context, in *replaceListIn) (*replaceListOut, error) {
	list, err := userIDs("body.friends", in.Body.Friends)
	if err != nil {
		return nil, err
	}
	added, removed, err := d.cfg.Roster.Replace(ctx, in.of(ctx), list)
	return &replaceListOut{ListChange{added, removed}}, err
}

// userIDs reads a list of users at a place in the request.
func userIDs(at string, list []string) ([]presence.UserID, error) {
	ids := make([]presence.UserID, len(list))
	for i, id := range list {
		if !presence.ValidUserID(id) {
			return nil, invalidUser(fmt.Sprintf("%s[%d]", at, i))
		}
		ids[i] = presence.UserID(id)
	}
	return ids, nil
}

func (d *Door) addFriend(ctx context.Context, in *friendIn) (*changedOut, error) {
	changed, err := d.cfg.Roster.Add(ctx, in.of(ctx), presence.UserID(in.FID), in.both())
	return &changedOut{Changed{changed}}, err
}

func (d *Door) removeFriend(ctx context.Context, in *friendIn) (*changedOut, error) {
	changed, err := d.cfg.Roster.Remove(ctx, in.of(ctx), presence.UserID(in.FID), in.both())
	return &changedOut{Changed{changed}}, err
}

func (d *Door) block(ctx context.Context, in *blockIn) (*changedOut, error) {
	changed, err := d.cfg.Roster.Block(ctx, in.of(ctx), presence.UserID(in.Other))
	return &changedOut{Changed{changed}}, err
}

func (d *Door) unblock(ctx context.Context, in *blockIn) (*changedOut, error) {
	changed, err := d.cfg.Roster.Unblock(ctx, in.of(ctx), presence.UserID(in.Other))
	return &changedOut{Changed{changed}}, err
}

// pushed is a FriendChange that was read.
type pushed struct {
	user           presence.User
	added, removed []presence.UserID
	reread         bool
}

func (d *Door) pushFriends(ctx context.Context, in *pushIn) (*pushOut, error) {
	app := requestOf(ctx).key.app
	list := make([]pushed, len(in.Body.Changes))
	for i, c := range in.Body.Changes { // all are read before the first is taken
		at := fmt.Sprintf("body.changes[%d]", i)
		if !presence.ValidUserID(c.User) {
			return nil, invalidUser(at + ".user")
		}
		if c.Reread == (len(c.Added)+len(c.Removed) > 0) {
			return nil, fault.Invalid(at, "either added or removed must have users in it, or reread must be true")
		}
		p := pushed{user: presence.User{App: app, ID: presence.UserID(c.User)}, reread: c.Reread}
		var err error
		if p.added, err = userIDs(at+".added", c.Added); err != nil {
			return nil, err
		}
		if p.removed, err = userIDs(at+".removed", c.Removed); err != nil {
			return nil, err
		}
		list[i] = p
	}
	for i, p := range list {
		if p.reread {
			d.cfg.Roster.Invalidate(p.user)
			continue
		}
		if err := d.cfg.Roster.Push(ctx, p.user, p.added, p.removed); err != nil {
			return nil, at(err, fmt.Sprintf("body.changes[%d]", i))
		}
	}
	return &pushOut{Taken{len(list)}}, nil
}
