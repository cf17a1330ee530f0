package stringee

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/porchlight-dev/porchlight/internal/topic"
)

// The services that this door knows.
const (
	servicePing        = 1
	serviceAuthen      = 2
	serviceTopic       = 102
	serviceAttribute   = 103
	serviceOtherClient = 104
)

// nameOf names a service in logs and metrics.
func nameOf(service int64) string {
	switch service {
	case servicePing:
		return "ping"
	case serviceAuthen:
		return "authen"
	case serviceAttribute:
		return "changeAttribute"
	}
	return "unknown"
}

// request is any frame of a client, as far as all have it.
type request struct {
	service int64
	id      *int64 // requestId; nil: it wants no answer
	body    json.RawMessage
}

// errNoFrame is the one mistake of a frame that ends the connection.
var errNoFrame = errors.New(`a frame is a JSON object in a text message: {"service": number, "body": {…}}`)

// parse reads a frame.
func parse(b []byte) (request, error) {
	var f struct {
		Service *int64          `json:"service"`
		Body    json.RawMessage `json:"body"`
	}
	if b = bytes.TrimLeft(b, " \t\r\n"); len(b) == 0 || b[0] != '{' || json.Unmarshal(b, &f) != nil || f.Service == nil {
		return request{}, errNoFrame
	}
	r := request{service: *f.Service, body: f.Body}
	if len(f.Body) == 0 || string(f.Body) == "null" {
		r.body = json.RawMessage("{}")
		return r, nil
	}
	if f.Body[0] != '{' {
		return request{}, errNoFrame
	}
	var id struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	var n int64
	if json.Unmarshal(f.Body, &id) == nil && json.Unmarshal(id.RequestID, &n) == nil && string(id.RequestID) != "null" {
		r.id = &n
	}
	return r, nil
}

// authen is the body of service 2.
type authen struct {
	Token      string `json:"accesstoken"`
	DeviceID   string `json:"deviceId"`
	BrowserID  string `json:"browserId"`
	SDKVersion string `json:"sdkVersion"`
	Platform   int64  `json:"platform"`
}

// change is the body of service 103.
type change struct {
	Attribute string          `json:"attribute"`
	Value     json.RawMessage `json:"value"`
}

// read reads a body.
func read(body json.RawMessage, into any) *refusal {
	if err := json.Unmarshal(body, into); err != nil {
		return refuse(codeBad, "the body is invalid: %s", mismatch(err))
	}
	return nil
}

// plain is the answer to a request that has nothing more to say.
type plain struct {
	RequestID *int64 `json:"requestId,omitempty"`
	R         int    `json:"r"`
	Message   string `json:"message"`
	// Server is where to connect, of codeRedirect alone.
	Server string `json:"change_to_server,omitempty"`
}

// success is the word that goes with codeOK.
const success = "SUCCESS"

// welcome is the answer to an authen that works. The client breaks without
// clients, so they are never null.
type welcome struct {
	plain
	User         string   `json:"userId"`
	Project      int64    `json:"projectId"`
	ConnectionID string   `json:"connectionId"`
	PingAfter    int64    `json:"ping_after_ms"`
	IceServers   []string `json:"ice_servers"`
	Clients      []client `json:"clients"`
}

// other is what is told of another client of the user.
type other struct {
	Status  string `json:"status"` // connected or disconnected
	Client  string `json:"clientId"`
	Browser string `json:"browserId"`
	User    string `json:"userId"`
}

// The words of other.Status.
const (
	connected    = "connected"
	disconnected = "disconnected"
)

// frame is a frame of the server.
type frame struct {
	Service int64 `json:"service"`
	Body    any   `json:"body"`
}

// appendFrame appends one.
func appendFrame(b []byte, service int64, body any) []byte {
	out, err := marshal(frame{service, body})
	if err != nil {
		return b // values that were JSON before are so again
	}
	return append(b, out...)
}

// marshal writes JSON without escaping for HTML.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// pingFrame asks the client for a word.
const pingFrame = `{"service":1,"body":{}}`

// told is a message of a topic, in the order of the document's sample.
type told struct {
	Topic   string `json:"topic"`
	Message news   `json:"message"`
}

type news struct {
	NewValue  json.RawMessage `json:"newValue"`
	CallEnded bool            `json:"callEnded"`
	Attribute string          `json:"attribute"`
	User      string          `json:"userId"`
	Project   int64           `json:"projectId"`
	Timestamp int64           `json:"timestamp"`
}

// Encode implements topic.Encoder: the whole frame, once for all who are told.
func (d *Door) Encode(m *topic.Message) []byte {
	return appendFrame(nil, serviceTopic, told{m.Topic, news{
		NewValue: m.Value, CallEnded: m.CallEnded, Attribute: m.Attribute, User: string(m.User), Project: d.project(m.App), Timestamp: int64(m.At),
	}})
}
