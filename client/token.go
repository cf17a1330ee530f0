package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// accessTokens remembers the access token until the server refuses it. It does
// not look inside: the server's clock decides about expiry, not ours.
type accessTokens struct {
	fetch func(context.Context) (string, error)
	turn  chan struct{} // capacity 1; held while fetching, so that one fetch serves all

	mu    sync.Mutex // guards token
	token string
}

func newAccessTokens(fetch func(context.Context) (string, error)) *accessTokens {
	return &accessTokens{fetch: fetch, turn: make(chan struct{}, 1)}
}

// get returns the remembered token, or fetches one. It respects ctx as far as
// the program's fetch does.
func (a *accessTokens) get(ctx context.Context) (string, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return "", ended(ctx, "waiting for an access token")
	}
	a.mu.Lock()
	t := a.token
	a.mu.Unlock()
	if t != "" {
		return t, nil
	}
	t, err := a.fetch(ctx)
	if err == nil && t == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return "", fmt.Errorf("porchlight: getting the access token: %w", err)
	}
	a.mu.Lock()
	a.token = t
	a.mu.Unlock()
	return t, nil
}

// refuse forgets token, unless a newer one has already taken its place.
func (a *accessTokens) refuse(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token == token {
		a.token = ""
	}
}
