package receiver

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The formats.
const (
	Native      = "native"
	CloudEvents = "cloudevents"
	RongCloud   = "rongcloud"
	TencentIM   = "tencentim"
)

// Formats are all of them.
func Formats() []string { return []string{Native, CloudEvents, RongCloud, TencentIM} }

// maxBody bounds a request; what the server sends is far below it.
const maxBody = 16 << 20

// Config says what comes and how to answer. The zero value takes the native
// format, does not check signatures and answers 200 at once.
type Config struct {
	Format string
	// Secrets check signatures: whsec_… for native and cloudevents, where any of
	// several may have signed; the app secret for rongcloud; the token for tencentim.
	Secrets []string
	// Answer is the status to answer with; 0 is 200. A request whose signature is
	// wrong is answered 401 whatever it is.
	Answer int
	// Delay is how long an answer waits.
	Delay time.Duration
	// FailRate is which part of the requests, 0 to 1, is answered 500.
	FailRate float64
	// Told hears of each request, one at a time, before it is answered.
	Told func(Request)
	// Rand gives numbers from 0 to below 1; nil is chance.
	Rand func() float64
}

// Check says what is wrong with the configuration.
func (c Config) Check() error {
	switch {
	case c.Format != "" && !slices.Contains(Formats(), c.Format):
		return fmt.Errorf("unknown format %.32q; use %s", c.Format, strings.Join(Formats(), ", "))
	case c.Answer != 0 && (c.Answer < 200 || c.Answer > 599):
		return fmt.Errorf("the answer %d is no HTTP status from 200 to 599", c.Answer)
	case !(c.FailRate >= 0 && c.FailRate <= 1):
		return fmt.Errorf("the fail rate %v is not between 0 and 1", c.FailRate)
	case c.Delay < 0:
		return fmt.Errorf("the delay %v is negative", c.Delay)
	}
	if c.standard() {
		for _, s := range c.Secrets {
			if _, err := signingKey(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// standard reports whether the format signs with Standard Webhooks.
func (c *Config) standard() bool {
	return c.Format == "" || c.Format == Native || c.Format == CloudEvents
}

// Receiver takes requests. Make it with New.
type Receiver struct {
	cfg   Config
	mu    sync.Mutex // guards order, and lets one request tell at a time
	order order
}

// New checks cfg.
func New(cfg Config) (*Receiver, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Format == "" {
		cfg.Format = Native
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	if cfg.Told == nil {
		cfg.Told = func(Request) {}
	}
	return &Receiver{cfg: cfg, order: newOrder()}, nil
}

// Words on a signature.
const (
	SignatureGood      = "good"
	SignatureUnchecked = "unchecked"
	SignatureWrong     = "wrong"
)

// Request is one request that came.
type Request struct {
	At        time.Time `json:"at"`
	Format    string    `json:"format"`
	Path      string    `json:"path"`
	Signature string    `json:"signature"`         // good, unchecked or wrong
	Problem   string    `json:"problem,omitempty"` // what is wrong with the request, for people
	Replay    string    `json:"replay,omitempty"`  // the replay that it belongs to
	Resent    bool      `json:"resent,omitempty"`  // dead letters, sent again
	Events    []Event   `json:"events"`
	Answer    int       `json:"answer"`
	After     string    `json:"after,omitempty"` // how long the answer waited
}

// ServeHTTP takes one request.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "webhooks come with POST; this is a receiver for development", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		http.Error(w, "the body did not arrive: "+err.Error(), http.StatusBadRequest)
		return
	}
	got := r.look(req, body)
	r.answerWith(&got)
	r.tell(&got)
	if r.cfg.Delay > 0 {
		wait := time.NewTimer(r.cfg.Delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-req.Context().Done():
			return // the sender gave up
		}
	}
	r.reply(w, got)
}

// look checks and reads a request.
func (r *Receiver) look(req *http.Request, body []byte) Request {
	got := Request{At: time.Now().UTC(), Format: r.cfg.Format, Path: req.URL.Path, Signature: SignatureUnchecked, Events: []Event{}}
	var why string
	switch r.cfg.Format {
	case RongCloud:
		got.Signature, why = r.checkRongCloud(req)
	case TencentIM:
		got.Signature, why = r.checkTencentIM(req)
	default:
		got.Signature, why = r.checkStandard(req, body)
	}
	if why != "" {
		got.Problem = why
	}
	if err := r.read(&got, req, body); err != nil && got.Problem == "" {
		got.Problem = err.Error()
	}
	return got
}

// answerWith chooses the answer.
func (r *Receiver) answerWith(got *Request) {
	switch {
	case got.Signature == SignatureWrong:
		got.Answer = http.StatusUnauthorized
	case r.cfg.FailRate > 0 && r.cfg.Rand() < r.cfg.FailRate:
		got.Answer = http.StatusInternalServerError
	case r.cfg.Answer != 0:
		got.Answer = r.cfg.Answer
	default:
		got.Answer = http.StatusOK
	}
	if r.cfg.Delay > 0 {
		got.After = r.cfg.Delay.String()
	}
}

// tell notes the events and hands the request on. What is answered badly comes
// again, so it is not noted as seen.
func (r *Receiver) tell(got *Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if got.Signature != SignatureWrong {
		r.order.note(got)
	}
	r.cfg.Told(*got)
}

// reply answers as the format's document says a receiver does.
func (r *Receiver) reply(w http.ResponseWriter, got Request) {
	if r.cfg.Format == TencentIM && got.Answer/100 == 2 {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(got.Answer)
		json.NewEncoder(w).Encode(map[string]any{"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""})
		return
	}
	if got.Answer == http.StatusNoContent {
		w.WriteHeader(got.Answer)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(got.Answer)
	io.WriteString(w, http.StatusText(got.Answer)+"\n")
}
