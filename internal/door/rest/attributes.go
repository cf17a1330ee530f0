package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/topic"
)

// attributesBody bounds a body with all attributes of a user, at their longest.
const attributesBody = 512 << 10

// JSON is any JSON value.
type JSON struct{ json.RawMessage }

// Schema describes it.
func (JSON) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Examples: []any{"busy"}} }

// Attribute is a named value of a user.
type Attribute struct {
	Name  string `json:"name" doc:"1 to 64 bytes." example:"manual_status"`
	Value JSON   `json:"value" doc:"Any JSON, up to 4 KiB."`
	At    Stamp  `json:"at,omitzero" doc:"When it was set last."`
}

// Mapping says where an attribute is told.
type Mapping struct {
	Attribute string `json:"attribute" doc:"The attribute's name." example:"manual_status"`
	Topic     string `json:"topic" doc:"The topic." example:"agent_manual_status"`
}

// Attributes are a user's.
type Attributes struct {
	User       string      `json:"user" doc:"The user's id." example:"alice"`
	Attributes []Attribute `json:"attributes" nullable:"false" doc:"In the order in which they were first set; call, which follows the user's calls, is the last."`
	Calls      int         `json:"calls" doc:"How many calls of the user run." example:"0"`
	Topics     []Mapping   `json:"topics" nullable:"false" doc:"Where attributes are told: as the access tokens of his connected devices say, or that of the last one."`
}

// AttributeChange sets an attribute.
type AttributeChange struct {
	Name  string `json:"name" doc:"1 to 64 bytes; not onlineStatus nor call." example:"manual_status"`
	Value JSON   `json:"value" doc:"Any JSON, up to 4 KiB."`
}

// AttributeChanges set several.
type AttributeChanges struct {
	Attributes []AttributeChange `json:"attributes" nullable:"false" maxItems:"64" doc:"In the order in which they are told."`
}

// AttributesSet says what a write did.
type AttributesSet struct {
	Changed int `json:"changed" doc:"How many have another value than before." example:"1"`
}

// AttributeValue is one value.
type AttributeValue struct {
	Value JSON `json:"value" doc:"Any JSON, up to 4 KiB."`
}

// OfAttribute is the attribute in the path.
type OfAttribute struct {
	Name string `path:"name" doc:"The attribute's name, percent-encoded." example:"manual_status"`
}

type (
	attributesOut   struct{ Body Attributes }
	setAttributesIn struct {
		OfUser
		Body AttributeChanges
	}
	setAttributesOut struct{ Body AttributesSet }
	setAttributeIn   struct {
		OfUser
		OfAttribute
		Body AttributeValue
	}
	dropAttributeIn struct {
		OfUser
		OfAttribute
	}
)

func (d *Door) registerAttributes() {
	stored := []fault.Kind{fault.LogUnavailable}
	written := []fault.Kind{fault.LogUnavailable, fault.NodeUnavailable}
	register(d, operation{
		id: "listAttributes", method: http.MethodGet, path: "/users/{id}/attributes", tag: "attributes",
		summary: "List a user's attributes", text: "With where they are told. A user of whom nothing is known has none.",
		answers: map[string]any{
			"user": "alice", "attributes": []any{map[string]any{"name": "manual_status", "value": "busy", "at": "2026-05-04T10:20:30.400Z"}}, "calls": 0,
			"topics": []any{map[string]any{"attribute": "manual_status", "topic": "agent_manual_status"}},
		}, faults: stored,
	}, d.listAttributes)
	register(d, operation{
		id: "setAttributes", method: http.MethodPut, path: "/users/{id}/attributes", tag: "attributes",
		summary: "Set attributes of a user",
		text: "All of them, or after an error none; those that are not named stay. What changed is stored, then told in the topics it is mapped to, then answered. " +
			"One that has that value already is not told. The user need not be online, nor ever have been. A user has 64 at most.",
		asks:    map[string]any{"attributes": []any{map[string]any{"name": "manual_status", "value": "busy"}}},
		answers: map[string]any{"changed": 1}, faults: written, body: attributesBody,
	}, d.setAttributes)
	register(d, operation{
		id: "setAttribute", method: http.MethodPut, path: "/users/{id}/attributes/{name}", tag: "attributes",
		summary: "Set one attribute of a user", text: "As setAttributes does with one.",
		asks: map[string]any{"value": "busy"}, answers: map[string]any{"changed": true}, faults: written,
	}, d.setAttribute)
	register(d, operation{
		id: "removeAttribute", method: http.MethodDelete, path: "/users/{id}/attributes/{name}", tag: "attributes",
		summary: "Take an attribute of a user away", text: "It is told as null. One that he does not have is answered with changed false.",
		answers: map[string]any{"changed": true}, faults: written,
	}, d.removeAttribute)
}

func (d *Door) listAttributes(ctx context.Context, in *OfUser) (*attributesOut, error) {
	r, err := d.cfg.Topics.Get(ctx, in.of(ctx))
	if err != nil {
		return nil, err
	}
	out := Attributes{User: in.ID, Attributes: []Attribute{}, Calls: r.Calls, Topics: []Mapping{}}
	for _, a := range r.Attributes {
		out.Attributes = append(out.Attributes, Attribute{a.Name, JSON{a.Value}, Stamp(a.At)})
	}
	if r.Call.Value != nil {
		out.Attributes = append(out.Attributes, Attribute{topic.Call, JSON{r.Call.Value}, Stamp(r.Call.At)})
	}
	for _, m := range r.Map {
		out.Topics = append(out.Topics, Mapping(m))
	}
	return &attributesOut{out}, nil
}

func (d *Door) setAttributes(ctx context.Context, in *setAttributesIn) (*setAttributesOut, error) {
	list := make([]topic.Attribute, len(in.Body.Attributes))
	for i, a := range in.Body.Attributes {
		list[i] = topic.Attribute{Name: a.Name, Value: a.Value.RawMessage}
	}
	_, changed, err := d.cfg.Topics.Set(ctx, in.of(ctx), list)
	if err != nil {
		return nil, place(err, func(path string) string { return "body." + path })
	}
	return &setAttributesOut{AttributesSet{changed}}, nil
}

func (d *Door) setAttribute(ctx context.Context, in *setAttributeIn) (*changedOut, error) {
	return d.setOne(ctx, in.of(ctx), in.Name, in.Body.Value.RawMessage)
}

func (d *Door) removeAttribute(ctx context.Context, in *dropAttributeIn) (*changedOut, error) {
	return d.setOne(ctx, in.of(ctx), in.Name, nil)
}

func (d *Door) setOne(ctx context.Context, user presence.User, name string, value json.RawMessage) (*changedOut, error) {
	_, changed, err := d.cfg.Topics.Set(ctx, user, []topic.Attribute{{Name: name, Value: value}})
	if err != nil {
		return nil, place(err, func(path string) string {
			if strings.HasSuffix(path, ".name") {
				return "path.name"
			}
			return "body.value"
		})
	}
	return &changedOut{Changed{changed > 0}}, nil
}

// place says where in the request a fault's fields are.
func place(err error, where func(path string) string) error {
	var f *fault.Error
	if !errors.As(err, &f) || len(f.Fields) == 0 {
		return err
	}
	moved := *f
	moved.Fields = make([]fault.Field, len(f.Fields))
	for i, v := range f.Fields {
		moved.Fields[i] = fault.Field{Path: where(v.Path), Rule: v.Rule}
	}
	return &moved
}
