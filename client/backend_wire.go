package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxAnswer bounds what is read of one answer: a thousand users with sixteen
// sessions each have room in it.
const maxAnswer = 256 << 20

// maxProblem bounds an error in the place of a stream.
const maxProblem = 64 << 10

// path joins parts that may hold anything, such as a user id with a slash.
func (b *Backend) path(parts ...string) string {
	var s strings.Builder
	s.WriteString(b.base)
	for _, p := range parts {
		escaped := url.PathEscape(p)
		if p == "." || p == ".." {
			escaped = strings.ReplaceAll(p, ".", "%2E") // or it would mean a folder
		}
		s.WriteString("/" + escaped)
	}
	return s.String()
}

// call makes one request and reads its answer into out.
func (b *Backend) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return invalid("body", err.Error())
		}
		body = bytes.NewReader(text)
	}
	resp, err := b.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &Error{Code: CodeUnavailable, Detail: "the server's answer broke off: " + err.Error(), cause: err}
	}
	if resp.StatusCode/100 != 2 {
		return problem(resp, answer)
	}
	dec := json.NewDecoder(bytes.NewReader(answer))
	dec.UseNumber() // an integer of 64 bits has no room in a float64
	if err := dec.Decode(out); err != nil {
		return &Error{Code: CodeInternal, Detail: "the server's answer is not what this program expects: " + err.Error(), cause: err}
	}
	return nil
}

// stream makes a request whose answer may be of any length; who reads it closes it.
func (b *Backend) stream(ctx context.Context, path string) (io.ReadCloser, error) {
	resp, err := b.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem)) // what there is of it
	return nil, problem(resp, answer)
}

// request makes one request, with the key.
func (b *Backend) request(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, path, body)
	if err != nil {
		return nil, fmt.Errorf("porchlight: make the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+b.key())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := b.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("porchlight: the request was given up: %w", ctx.Err())
		}
		e := &Error{Code: CodeUnavailable, Detail: "the server cannot be reached: " + plainer(err), cause: err}
		if (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) && req.URL.Scheme == "http" {
			e.Detail += "; does it want https?"
		}
		// net/http has no value for it; which of the two depends on who comes first.
		if said := err.Error(); strings.Contains(said, "malformed HTTP response") || strings.Contains(said, "readLoopPeekFail") {
			e.Detail = "what answers at " + req.URL.Host + " speaks no HTTP/1.1: is it the gRPC port (7401 by default; the HTTP port is 7400), or does it want https?"
		}
		return nil, e
	}
	return resp, nil
}

// plainer takes the request's URL, which says nothing new, off an error.
func plainer(err error) string {
	if u, ok := err.(*url.Error); ok {
		return u.Err.Error()
	}
	return err.Error()
}

// problem reads an error of the REST API (RFC 9457).
func problem(resp *http.Response, body []byte) error {
	var p struct {
		Code, Detail string
		Errors       []struct{ Location, Message string }
	}
	e := &Error{Code: codeOfStatus(resp.StatusCode)}
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		// Something in between answered in the server's place.
		e.Detail = "the server answered " + resp.Status
		if bytes.Contains(body, []byte("HTTP request to an HTTPS server")) { // net/http's words
			e.Detail += "; it wants https"
		}
		return e
	}
	e.Reason, e.Detail = Reason(p.Code), p.Detail
	for _, f := range p.Errors {
		e.Fields = append(e.Fields, Field{Path: f.Location, Rule: f.Message})
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// codeOfStatus is the broad class of an HTTP status.
func codeOfStatus(status int) Code {
	switch status {
	case http.StatusUnauthorized:
		return CodeUnauthenticated
	case http.StatusForbidden:
		return CodePermissionDenied
	case http.StatusNotFound, http.StatusGone:
		return CodeNotFound
	case http.StatusTooManyRequests:
		return CodeResourceExhausted
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return CodeUnavailable
	case http.StatusConflict, http.StatusPreconditionFailed:
		return CodeFailedPrecondition
	}
	if status >= 500 {
		return CodeInternal
	}
	return CodeInvalidArgument
}

// backendUser is a user on the wire.
type backendUser struct {
	User      string           `json:"user"`
	Available bool             `json:"available"`
	Invisible bool             `json:"invisible"`
	LastSeen  time.Time        `json:"last_seen"`
	Stale     time.Time        `json:"stale_since"`
	Unknown   bool             `json:"unknown"`
	Sessions  []backendSession `json:"sessions"`
}

type backendSession struct {
	Session    string         `json:"session"`
	Status     Show           `json:"status"`
	RichText   any            `json:"rich_text"`
	TextLocale string         `json:"rich_text_locale"`
	Properties map[string]any `json:"properties"`
	Since      time.Time      `json:"since"`
	Updated    time.Time      `json:"updated"`
	Revision   uint64         `json:"revision"`
	Device     struct{ Platform, Product string }
}

func (u *backendUser) presence() Presence {
	p := Presence{User: u.User, Available: u.Available, Invisible: u.Invisible, LastSeen: u.LastSeen, StaleSince: u.Stale, Unknown: u.Unknown}
	for _, s := range u.Sessions {
		one := UserSession{
			ID: s.Session, Platform: s.Device.Platform, Product: s.Device.Product, Show: s.Status, Text: textOf(s.RichText), Locale: s.TextLocale,
			Revision: s.Revision, ConnectedAt: s.Since, UpdatedAt: s.Updated,
		}
		if len(s.Properties) > 0 {
			one.Properties = make(map[string]any, len(s.Properties))
		}
		for k, v := range s.Properties {
			one.Properties[k] = propertyOf(v)
		}
		p.Sessions = append(p.Sessions, one)
	}
	return p
}

// propertyOf is a property's value as UserSession has it.
func propertyOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return textOf(v)
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64() // what JSON calls a number, it reads
		return f
	}
	return v
}

// textOf is a text as it is, and a reference as its fallback.
func textOf(v any) string {
	if ref, ok := v.(map[string]any); ok {
		v = ref["fallback"]
	}
	text, _ := v.(string)
	return text
}

// wire is the body of a PUT.
func (p *ServerPresence) wire() map[string]any {
	m := map[string]any{"ttl": int(p.TTL / time.Second)}
	if p.Status.Show != "" {
		m["status"] = p.Status.Show
	}
	if p.Status.Template != nil {
		m["rich_text"] = p.Status.Template.wire()
	} else if p.Status.Text != "" {
		m["rich_text"] = p.Status.Text
	}
	if len(p.Status.Properties) > 0 {
		m["properties"] = wireValues(p.Status.Properties)
	}
	if p.Status.Invisible {
		m["invisible"] = true
	}
	device := map[string]string{"platform": p.Device.Platform, "product": p.Device.Product, "locale": p.Device.Locale, "version": p.Device.Version}
	maps.DeleteFunc(device, func(_, v string) bool { return v == "" })
	if len(device) > 0 {
		m["device"] = device
	}
	return m
}

func (r *Ref) wire() map[string]any {
	m := map[string]any{"token": r.Token}
	if r.Fallback != "" {
		m["fallback"] = r.Fallback
	}
	if len(r.Args) > 0 {
		m["args"] = wireValues(r.Args)
	}
	return m
}

func wireValues(values map[string]any) map[string]any {
	m := make(map[string]any, len(values))
	for k, v := range values {
		switch v := v.(type) {
		case Ref:
			m[k] = v.wire()
		case *Ref:
			m[k] = v.wire()
		default:
			m[k], _ = plain(v)
		}
	}
	return m
}
