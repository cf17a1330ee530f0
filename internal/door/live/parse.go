package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// The frames of a device, by their "t".
const (
	frameHello   = "hello"
	frameSet     = "set"
	framePatch   = "patch"
	frameWatch   = "watch"
	frameUnwatch = "unwatch"
	frameGet     = "get"
	framePing    = "ping"
	frameToken   = "token"
	frameAttrs   = "attributes"
	frameBye     = "bye"
)

// request is any frame of a device; which keys count depends on T. Keys that it
// does not know are passed over.
type request struct {
	T  string  `json:"t"`
	ID *uint64 `json:"id"` // echoed in the answer

	// hello
	Token  string      `json:"token"` // and of token
	Resume string      `json:"resume"`
	After  *uint64     `json:"after"`
	Device deviceWords `json:"device"`
	Watch  []string    `json:"watch"`
	Topics bool        `json:"topics"`
	// Notifications asks for live notifications.
	Notifications bool `json:"notifications"`

	Status *status `json:"status"` // hello, set, patch

	// patch
	Clear     []string `json:"clear"`
	ClearText bool     `json:"clear_text"`

	// watch, unwatch, get
	Users    []string `json:"users"`
	Friends  bool     `json:"friends"` // and hello
	Sessions bool     `json:"sessions"`
	Locale   string   `json:"locale"`

	// attributes
	User   string           `json:"user"`
	Set    []attributeWords `json:"set"`
	Remove []string         `json:"remove"`

	Mode string `json:"mode"` // bye
}

// deviceWords are what a device says of itself.
type deviceWords struct {
	Platform string `json:"platform"`
	Product  string `json:"product"`
	Locale   string `json:"locale"`
	ID       string `json:"id"`
	Version  string `json:"version"`
}

var devicePaths = admit.DevicePaths{
	Platform: "device.platform", Product: "device.product", Locale: "device.locale", ID: "device.id", Version: "device.version",
}

// record is the device checked.
func (d *deviceWords) record(addr string) (presence.Device, error) {
	return admit.Device(presence.Device{
		Platform: d.Platform, Product: d.Product, Locale: d.Locale, ID: d.ID, Version: d.Version, Addr: addr, Door: Name,
	}, devicePaths)
}

// errNoObject is the one mistake of a frame that ends the connection.
var errNoObject = errors.New("a frame is one JSON object in a text message")

// parse reads a frame. On errNoObject it is not even that; another error is a
// fault of the frame, of which T and ID are as far as they could be read.
func parse(b []byte, r *request) error {
	if i := bytes.IndexFunc(b, func(c rune) bool { return c != ' ' && c != '\t' && c != '\r' && c != '\n' }); i < 0 || b[i] != '{' {
		return errNoObject
	}
	err := json.Unmarshal(b, r)
	var mismatch *json.UnmarshalTypeError
	var wrong *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return wrong
	case errors.As(err, &mismatch):
		if mismatch.Field == "id" {
			r.ID = nil // it was made, and is not what the device sent
		}
		return fault.Invalid(mismatch.Field, "%s; want %s", got(mismatch.Value), want(mismatch.Field))
	}
	return errNoObject
}

// got says what stands where something else should.
func got(value string) string {
	if rest, ok := strings.CutPrefix(value, "number "); ok {
		return "the number " + rest
	}
	return "a value of the kind " + value
}

// want says what a key takes.
func want(path string) string {
	switch key := path[strings.LastIndexByte(path, '.')+1:]; key {
	case "id", "after":
		if path != "device.id" {
			return "a whole number that is not negative"
		}
	case "users", "watch", "clear", "remove":
		return "a list of texts"
	case "set":
		return `a list of {"name", "value"}`
	case "friends", "notifications", "topics", "sessions", "clear_text", "invisible":
		return "true or false"
	case "device", "status", "properties", "args":
		return "an object"
	}
	return "a text"
}
