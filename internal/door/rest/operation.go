package rest

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/webhook/native"
)

const (
	// smallBody bounds a body that is not a list.
	smallBody = 64 << 10
	// bodyTime is how long a body may take to arrive.
	bodyTime = 10 * time.Second
)

// about is the text in front of the description.
const about = `What an app's backend asks and tells about its users.

**Keys.** Every request carries a server key of the app, ` + "`Authorization: Bearer KEY`" + `; the key selects the app, and nothing crosses apps. Keys are for servers: no CORS headers are sent.

**Truth and what others see.** Answers say what other users may see ("shown"): a user who is invisible is offline, and his last seen stands still. With ` + "`view=true`" + ` they say the truth, marked ` + "`invisible: true`" + `.

**Texts** that are references into the catalogue of messages come as they are; with ` + "`locale`" + ` they come as text for a reader of it.

**Names.** A user id is 1 to 128 bytes of UTF-8 without control characters, percent-encoded in a path; "/" and a lone "." too.

**Writes** are idempotent: PUT and DELETE may be sent again, and answer the same way when there is nothing left to do.

**Errors** are ` + "`application/problem+json`" + ` (RFC 9457). ` + "`code`" + ` is for programs; 503 and 429 come with Retry-After. Every answer has an X-Request-Id, the caller's or a new one.

**Times** are RFC 3339 in UTC with milliseconds.`

// describe is the configuration of the description.
func describe(version string) huma.Config {
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Porchlight REST API", Version: version, Description: about,
				License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Servers: []*huma.Server{{URL: "/", Description: "The HTTP port of any node."}},
			Tags: []*huma.Tag{
				{Name: "users", Description: "Who is available, and erasure."},
				{Name: "sessions", Description: "The devices of a user."},
				{Name: "attributes", Description: "Named values of a user, and the topics they are told in."},
				{Name: "friends", Description: "Who watches whom, and who may not see whom."},
				{Name: "notifications", Description: "Short messages that wait until their user comes."},
				{Name: "webhooks", Description: "How webhooks are doing, and telling them again."},
				{Name: "changes", Description: "What happened: by pull, as a whole, and of one user."},
				{Name: "presence", Description: "Presences that servers set, for bots and devices."},
				{Name: "nodes", Description: "How the nodes are doing."},
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"serverKey": {Type: "http", Scheme: "bearer", Description: "A server key of the app (apps.*.server_keys)."},
				},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{translate},
	}
}

// schemaName names a type in the description. Those of the native webhook's body
// have names of their own: a session there is not one here.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.PkgPath() == reflect.TypeFor[native.Event]().PkgPath() {
		return "Change" + name
	}
	return name
}

// operation is what describes one call.
type operation struct {
	id, method, path string // path below Prefix
	tag              string
	summary, text    string
	asks, answers    any          // examples of the bodies; nil: none
	faults           []fault.Kind // beside those that every call may answer
	more             []refusal    // what may be answered that is no fault
	body             int64        // the longest body; 0: smallBody
}

// refusal is a problem that is no fault: what it says is of HTTP.
type refusal struct {
	status int
	code   string
}

// register puts an operation on the mux and into the description.
func register[I, O any](d *Door, o operation, call func(context.Context, *I) (*O, error)) {
	huma.Register(d.api, d.describeOperation(o), func(ctx context.Context, in *I) (*O, error) {
		if o.asks != nil { // a body that is not asked for is not read, and keeps its limit
			requestOf(ctx).bodyRead()
		}
		out, err := call(ctx, in)
		if err != nil {
			return nil, d.problem(ctx, err)
		}
		return out, nil
	})
}

// describeOperation is what the description says of an operation.
func (d *Door) describeOperation(o operation) huma.Operation {
	op := huma.Operation{
		OperationID: o.id, Method: o.method, Path: Prefix + o.path, Tags: []string{o.tag},
		Summary: o.summary, Description: o.text, MaxBodyBytes: o.body, BodyReadTimeout: bodyTime,
		Security: []map[string][]string{{"serverKey": {}}},
	}
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = smallBody
	}
	if o.asks != nil {
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Example: o.asks}}}
	}
	op.Responses = d.problems(o)
	op.Responses["200"] = &huma.Response{
		Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Example: o.answers}},
		Headers: map[string]*huma.Param{"X-Request-Id": {Description: "The request's id.", Schema: &huma.Schema{Type: "string"}}},
	}
	return op
}

// problems are the answers to what may go wrong, one for each status.
func (d *Door) problems(o operation) map[string]*huma.Response {
	codes := map[int][]string{}
	add := func(status int, code string) {
		if !slices.Contains(codes[status], code) {
			codes[status] = append(codes[status], code)
		}
	}
	for _, k := range append([]fault.Kind{fault.KeyInvalid, fault.RateLimited, fault.FieldInvalid, fault.Internal}, o.faults...) {
		add(statusOf(k), k.String())
	}
	for _, r := range o.more {
		add(r.status, r.code)
	}
	if o.asks != nil {
		add(http.StatusBadRequest, fault.FieldInvalid.String())
		add(http.StatusRequestTimeout, codeSlow)
		add(http.StatusRequestEntityTooLarge, codeLarge)
		add(http.StatusUnsupportedMediaType, codeType)
	}
	schema := d.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
	all := map[string]*huma.Response{}
	for status, list := range codes {
		r := &huma.Response{
			Description: fmt.Sprintf("%s: %s", http.StatusText(status), strings.Join(list, ", ")),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: schema}},
		}
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			r.Headers = map[string]*huma.Param{"Retry-After": {Description: "Seconds to wait.", Schema: &huma.Schema{Type: "integer"}}}
		}
		all[strconv.Itoa(status)] = r
	}
	return all
}
