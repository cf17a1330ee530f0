package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/porchlight-dev/porchlight/client"
)

// attributesCommand reads and writes users' attributes. Its flags may stand
// before list, set and remove, and after.
type attributesCommand struct {
	backendFlags
	List   attributesList   `cmd:"" help:"Print a user's attributes, one per line."`
	Set    attributesSet    `cmd:"" help:"Set attributes of a user."`
	Remove attributesRemove `cmd:"" help:"Take attributes of a user away."`
}

// Help shows an example.
func (attributesCommand) Help() string {
	return "Example:\n\n  porchlight attributes set alice mood=happy seat='{\"row\": 3}'\n  porchlight attributes list alice"
}

type attributesList struct {
	JSON bool   `name:"json" help:"One JSON object per attribute and line."`
	User string `arg:"" help:"Whose attributes."`
}

// Run prints them.
func (a attributesList) Run(ctx context.Context, c console, all *attributesCommand) error {
	b, err := all.backend(c, "")
	if err != nil {
		return err
	}
	list, err := b.Attributes(ctx, a.User)
	if err != nil {
		return err
	}
	for _, one := range list {
		if a.JSON {
			err = json.NewEncoder(c.out).Encode(one)
		} else {
			_, err = fmt.Fprintf(c.out, "%s=%s\n", one.Name, one.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type attributesSet struct {
	JSON bool     `name:"json" help:"One JSON object."`
	User string   `arg:"" help:"Whose attributes."`
	List []string `arg:"" name:"NAME=VALUE" help:"What to set. A value that is no JSON is a text."`
}

// Run sets all of them, or none.
func (a attributesSet) Run(ctx context.Context, c console, all *attributesCommand) error {
	list := make([]client.Attribute, len(a.List))
	for i, pair := range a.List {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%q sets nothing; want NAME=VALUE, such as mood=happy", pair)
		}
		list[i] = client.Attribute{Name: name, Value: json.RawMessage(value)}
		if !json.Valid(list[i].Value) {
			text, err := json.Marshal(value)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			list[i].Value = text
		}
	}
	b, err := all.backend(c, "")
	if err != nil {
		return err
	}
	changed, err := b.SetAttributes(ctx, a.User, list...)
	if err != nil {
		return err
	}
	if a.JSON {
		return json.NewEncoder(c.out).Encode(map[string]any{"user": a.User, "changed": changed})
	}
	_, err = fmt.Fprintf(c.out, "changed %d of %s\n", changed, a.User)
	return err
}

type attributesRemove struct {
	JSON  bool     `name:"json" help:"One JSON object per attribute and line."`
	User  string   `arg:"" help:"Whose attributes."`
	Names []string `arg:"" name:"NAME" help:"Which to take away."`
}

// Run takes one after the other away; those before an error stay away.
func (a attributesRemove) Run(ctx context.Context, c console, all *attributesCommand) error {
	b, err := all.backend(c, "")
	if err != nil {
		return err
	}
	for _, name := range a.Names {
		changed, err := b.RemoveAttribute(ctx, a.User, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if a.JSON {
			err = json.NewEncoder(c.out).Encode(map[string]any{"user": a.User, "name": name, "changed": changed})
		} else {
			word := "removed"
			if !changed {
				word = "was not there"
			}
			_, err = fmt.Fprintf(c.out, "%s %s\n", name, word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
