package config

import (
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// TokenParams say which access token to make.
type TokenParams struct {
	// File is the configuration whose first secret of App signs; empty: the
	// development key signs, for app "demo".
	File string
	// Environ overrides the file, as in Load.
	Environ   []string
	App, User string
	TTL       time.Duration // from now
	// Topics are what the token says of topics; nil: nothing.
	Topics *TokenTopics
}

// TokenTopics is what a token says of topics.
type TokenTopics = token.Topics

// TokenPublication is where one attribute is published.
type TokenPublication = token.Publication

// Token makes an access token. It is for the command line and for tests;
// products sign with their own identity provider.
func Token(p TokenParams) (string, error) {
	c := Development()
	if p.File != "" {
		var err error
		if c, err = Load(p.File, p.Environ...); err != nil {
			return "", err
		}
	}
	if _, ok := c.Apps[p.App]; !ok {
		if p.File == "" {
			return "", fmt.Errorf("the development keys know app demo only; name a configuration with app %q by --config", p.App)
		}
		return "", fmt.Errorf("%s has no app %q", p.File, p.App)
	}
	return c.sign(p)
}

// Token is the same with the app's first secret in c.
func (c *Config) Token(app, user string, ttl time.Duration) (string, error) {
	return c.sign(TokenParams{App: app, User: user, TTL: ttl})
}

func (c *Config) sign(p TokenParams) (string, error) {
	app, ttl := p.App, p.TTL
	if _, ok := c.Apps[app]; !ok {
		return "", fmt.Errorf("the configuration has no app %q", app)
	}
	iss, err := c.Issuer(app)
	if err != nil {
		return "", err
	}
	if ttl <= 0 {
		return "", fmt.Errorf("a token that is good for %v is good for nothing; give a time above zero", ttl)
	}
	return token.SignClaims(iss, token.Claims{User: presence.UserID(p.User), TTL: ttl, Topics: p.Topics}, time.Now())
}
