package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// publisher is where an app's issuer publishes its keys, and what it was made of.
type publisher struct {
	url     string
	private bool
	client  *outbound.Client
	keys    *token.Published
}

// access makes what believes access tokens, of a configuration. What an app had
// of published keys stays when its address did not change; new ones are not
// started yet. Nothing of the node changes before useAccess.
func (a *App) access(c *config.Config) (*token.Verifier, map[presence.AppID]publisher, error) {
	issuers, err := c.Issuers()
	if err != nil {
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	publishers := map[presence.AppID]publisher{}
	for i := range issuers {
		app := issuers[i].App
		jwt := c.Apps[string(app)].JWT
		if jwt.JWKSURL == "" {
			continue
		}
		p := a.publishers[app]
		if p.keys == nil || p.url != jwt.JWKSURL || p.private != jwt.AllowPrivate {
			p = a.newPublisher(app, jwt)
		}
		publishers[app], issuers[i].Published = p, p.keys
	}
	verifier, err := token.NewVerifier(issuers, time.Now)
	if err != nil {
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	return verifier, publishers, nil
}

func (a *App) newPublisher(app presence.AppID, jwt config.JWT) publisher {
	client := outbound.New(outbound.Config{Timeout: token.FetchLimit, MaxAnswer: token.MaxJWKS, AllowPrivate: jwt.AllowPrivate})
	failing := false // Told is called by one goroutine
	return publisher{jwt.JWKSURL, jwt.AllowPrivate, client, token.NewPublished(token.PublishedConfig{
		URL: jwt.JWKSURL, Fetcher: fetcher{client},
		Told: func(r token.Refresh) {
			switch {
			case r.Err != nil && !failing:
				a.log.Warn("the keys of an issuer cannot be fetched; trying again", "app", app, "error", r.Err, "keys", r.Keys, "age", r.Age.Round(time.Second).String())
			case r.Err == nil && (failing || r.Changed):
				a.log.Info("keys of an issuer", "app", app, "keys", r.Keys, "left_out", r.Skipped)
			}
			failing = r.Err != nil
		},
	})}
}

// useAccess makes a verifier the one that the door asks, between the start of the
// publishers that are new and the end of those that are not among them any more.
func (a *App) useAccess(ctx context.Context, verifier *token.Verifier, publishers map[presence.AppID]publisher) {
	former := a.publishers
	a.publishers = publishers
	for app, p := range publishers {
		if former[app].keys != p.keys {
			p.keys.Start(ctx)
		}
	}
	a.verifier = verifier
	if a.gate != nil {
		a.gate.SetVerifier(verifier)
	}
	for app, p := range former {
		if publishers[app].keys != p.keys {
			p.keys.Stop()
			p.client.Close()
		}
	}
}

func (a *App) startKeys(ctx context.Context) error {
	verifier, publishers, err := a.access(a.p.Config)
	if err != nil {
		return err
	}
	a.useAccess(ctx, verifier, publishers)
	return nil
}

func (a *App) stopKeys(ctx context.Context) error {
	a.useAccess(ctx, a.verifier, nil)
	return nil
}

// fetcher asks for a JWK Set.
type fetcher struct{ client *outbound.Client }

// Fetch gets what is at url.
func (f fetcher) Fetch(ctx context.Context, url string) ([]byte, error) {
	answer, err := f.client.Get(ctx, url, http.Header{"Accept": {"application/jwk-set+json, application/json"}})
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusOK {
		return nil, fmt.Errorf("it answered with status %d, want 200; redirects are not followed", answer.Status)
	}
	return answer.Body, nil
}

var _ token.Fetcher = fetcher{}
