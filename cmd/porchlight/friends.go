package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// friendsCommand reads and writes friend lists. Its flags may stand before add,
// remove and list, and after.
type friendsCommand struct {
	backendFlags
	Add    friendsAdd    `cmd:"" help:"Put friends on a user's list."`
	Remove friendsRemove `cmd:"" help:"Take friends off a user's list."`
	List   friendsList   `cmd:"" help:"Print a user's list, a friend per line."`
}

// Help shows an example.
func (friendsCommand) Help() string {
	return "Example:\n\n  porchlight friends add alice bob carol\n  porchlight friends list alice"
}

// friendsChange is what add and remove take.
type friendsChange struct {
	Both    bool     `help:"The other direction too: the user on or off each friend's list."`
	JSON    bool     `name:"json" help:"One JSON object per friend and line."`
	User    string   `arg:"" help:"Whose list."`
	Friends []string `arg:"" name:"FRIEND" help:"Who to add or remove."`
}

type friendsAdd struct{ friendsChange }

type friendsRemove struct{ friendsChange }

// Run adds one after the other; those before an error stay added.
func (f friendsAdd) Run(ctx context.Context, c console, all *friendsCommand) error {
	b, err := all.backend(c, "")
	if err != nil {
		return err
	}
	return f.each(ctx, c, friendsWords{b.AddFriend, "added", "was on the list"})
}

// Run removes one after the other.
func (f friendsRemove) Run(ctx context.Context, c console, all *friendsCommand) error {
	b, err := all.backend(c, "")
	if err != nil {
		return err
	}
	return f.each(ctx, c, friendsWords{b.RemoveFriend, "removed", "was not on the list"})
}

// friendsWords are a change of a list, and what to say of it.
type friendsWords struct {
	change   func(ctx context.Context, user, friend string, both bool) (bool, error)
	did, not string
}

func (f friendsChange) each(ctx context.Context, c console, w friendsWords) error {
	for _, friend := range f.Friends {
		changed, err := w.change(ctx, f.User, friend, f.Both)
		if err != nil {
			return fmt.Errorf("%s: %w", friend, err)
		}
		if f.JSON {
			err = json.NewEncoder(c.out).Encode(map[string]any{"user": f.User, "friend": friend, "changed": changed})
		} else {
			word := w.did
			if !changed {
				word = w.not
			}
			_, err = fmt.Fprintf(c.out, "%s %s\n", friend, word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type friendsList struct {
	JSON bool   `name:"json" help:"One JSON object."`
	User string `arg:"" help:"Whose list."`
}

// Run prints the list.
func (f friendsList) Run(ctx context.Context, c console, all *friendsCommand) error {
	b, err := all.backend(c, "")
	if err != nil {
		return err
	}
	friends, err := b.Friends(ctx, f.User)
	if err != nil {
		return err
	}
	if f.JSON {
		if friends == nil {
			friends = []string{}
		}
		return json.NewEncoder(c.out).Encode(map[string]any{"user": f.User, "friends": friends})
	}
	for _, friend := range friends {
		if _, err := fmt.Fprintln(c.out, friend); err != nil {
			return err
		}
	}
	return nil
}

// dropCommand ends a user's sessions.
type dropCommand struct {
	backendFlags
	Session string `placeholder:"ID" help:"End this session only, named by its public id."`
	Revoke  bool   `help:"Make void the access tokens that the user has, too."`
	JSON    bool   `name:"json" help:"One JSON object."`
	User    string `arg:"" help:"Whose sessions."`
}

// Help shows an example.
func (dropCommand) Help() string {
	return "The devices are told that they were dropped, and do not come back by themselves.\n\nExample:\n\n  porchlight drop bob"
}

// Run drops.
func (d dropCommand) Run(ctx context.Context, c console) error {
	b, err := d.backend(c, "")
	if err != nil {
		return err
	}
	if d.Session != "" && d.Revoke {
		return errors.New("--revoke is for all of a user's sessions; leave --session out")
	}
	n := 0
	if d.Session != "" {
		n, err = b.DropSession(ctx, d.User, d.Session)
	} else {
		n, err = b.Drop(ctx, d.User, d.Revoke)
	}
	if err != nil {
		return err
	}
	if d.JSON {
		return json.NewEncoder(c.out).Encode(map[string]any{"user": d.User, "dropped": n})
	}
	if n == 0 {
		_, err = fmt.Fprintf(c.out, "%s has no session that is open\n", d.User)
	} else {
		_, err = fmt.Fprintf(c.out, "dropped %d of %s\n", n, d.User)
	}
	return err
}
