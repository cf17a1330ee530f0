package webhook

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

const (
	// DefaultLanes is how many lanes an endpoint has: enough that one stuck user
	// is one sixteenth of the users at most, few enough that lanes fill batches.
	DefaultLanes = 16
	// MaxLanes bounds them: each has a request under way.
	MaxLanes = 64

	maxEndpointName = 32
	// MaxBatch is the most events of a request.
	MaxBatch = 1000
	// MaxLinger is the longest an event may wait for more.
	MaxLinger = 10 * time.Second
)

// Endpoint is one address and how it is served. What is known of it (cursors,
// dead letters) belongs to App and Name: it stays when the rest changes, and
// when the endpoint is taken away and comes back.
type Endpoint struct {
	App    presence.AppID
	Name   string // 1 to 32 of [a-z0-9_-]
	URL    string // http or https
	Format Format
	// Lanes is how many requests may be under way; DefaultLanes if zero.
	Lanes int
	// AllowPrivate: see outbound.Config.
	AllowPrivate bool
	// FromOldest makes an endpoint that was never served begin with the oldest
	// event there is, in place of the next one.
	FromOldest bool
	// Batch replaces what the format's policy says where it is not zero.
	Batch Batch
}

// Check says what is wrong with the endpoint, by the names of the configuration.
func (e Endpoint) Check() error {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !validName(e.Name) {
		say("name: %q is none; 1 to %d of a-z, 0-9, - and _ are", e.Name, maxEndpointName)
	}
	if e.Format == nil {
		say("format: missing")
	}
	if err := CheckURL(e.URL); err != nil {
		say("url: %w", err)
	} else if c, ok := e.Format.(URLChecker); ok {
		if err := c.CheckURL(e.URL); err != nil {
			say("url: %w", err)
		}
	}
	if e.Lanes < 0 || e.Lanes > MaxLanes {
		say("lanes: %d is not 1 to %d", e.Lanes, MaxLanes)
	}
	if e.Batch.Events < 0 || e.Batch.Events > MaxBatch {
		say("batch.events: %d is not 1 to %d", e.Batch.Events, MaxBatch)
	}
	if e.Batch.Linger < 0 || e.Batch.Linger > MaxLinger {
		say("batch.linger: %s is not 0s to %s", e.Batch.Linger, MaxLinger)
	}
	return errors.Join(errs...)
}

// CheckURL says what is wrong with an address to call. It repeats nothing of it,
// because an address may hold a secret.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case address == "":
		return errors.New("missing")
	case err != nil:
		return errors.New("it is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("it begins with neither https:// nor http://")
	case u.Host == "" || u.Hostname() == "":
		return errors.New("it has no host")
	case u.User != nil:
		return errors.New("it has a user or password before the host; put what authenticates into the path, the query or the signature")
	case u.Fragment != "" || strings.Contains(address, "#"):
		return errors.New("it has a fragment (#…), which is never sent")
	}
	return nil
}

func validName(s string) bool {
	if len(s) == 0 || len(s) > maxEndpointName {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// withDefaults fills what is zero.
func (e Endpoint) withDefaults() Endpoint {
	if e.Lanes == 0 {
		e.Lanes = DefaultLanes
	}
	return e
}

// policy is the format's, with what the endpoint replaces.
func (e Endpoint) policy() Policy {
	p := e.Format.Policy()
	if e.Batch.Events > 0 && p.Batch.Events != 1 {
		p.Batch.Events = e.Batch.Events
	}
	if e.Batch.Linger > 0 {
		p.Batch.Linger = e.Batch.Linger
	}
	p.Batch.Events = max(p.Batch.Events, 1)
	if p.MaxAnswer <= 0 {
		p.MaxAnswer = defaultMaxAnswer
	}
	if p.Timeout <= 0 {
		p.Timeout = defaultTimeout
	}
	return p
}

const (
	defaultMaxAnswer = 64 << 10
	defaultTimeout   = 10 * time.Second
)

// key names an endpoint.
type key struct {
	app  presence.AppID
	name string
}

func (k key) String() string { return string(k.app) + "/" + k.name }
