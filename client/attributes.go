package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Attribute is a named value of a user, which all his devices share and which
// stays when they go.
type Attribute struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"` // any JSON
	At    time.Time       `json:"at,omitzero"`
}

// Attributes returns a user's attributes, in the order in which they were first
// set; "call", which follows his calls, is the last if he ever had one.
func (b *Backend) Attributes(ctx context.Context, user string) ([]Attribute, error) {
	var answer struct{ Attributes []Attribute }
	err := b.call(ctx, http.MethodGet, b.path("users", user, "attributes"), nil, &answer)
	return answer.Attributes, err
}

// SetAttributes sets attributes of a user: all of them or, after an error, none.
// What changed is stored and told in the topics it is mapped to, in that order.
// At is not looked at.
func (b *Backend) SetAttributes(ctx context.Context, user string, list ...Attribute) (changed int, err error) {
	type setting struct {
		Name  string          `json:"name"`
		Value json.RawMessage `json:"value"`
	}
	all := make([]setting, len(list))
	for i, a := range list {
		all[i] = setting{a.Name, a.Value}
	}
	var answer struct{ Changed int }
	err = b.call(ctx, http.MethodPut, b.path("users", user, "attributes"), map[string]any{"attributes": all}, &answer)
	return answer.Changed, err
}

// RemoveAttribute takes an attribute of a user away; changed is false when he
// did not have it.
func (b *Backend) RemoveAttribute(ctx context.Context, user, name string) (changed bool, err error) {
	return b.change(ctx, http.MethodDelete, b.path("users", user, "attributes", name))
}
