package config

import (
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// Token makes an access token for a user of an app, good for ttl from now: with
// the app's first key in a configuration file, or with the development key when
// file is empty. It is for the command line and for tests; products sign with
// their own identity provider.
func Token(file, app, user string, ttl time.Duration) (string, error) {
	c := Development()
	if file != "" {
		var err error
		if c, err = Load(file); err != nil {
			return "", err
		}
	}
	jwt, err := c.Token(app, user, ttl)
	if err == nil {
		return jwt, nil
	}
	if _, ok := c.Apps[app]; ok {
		return "", err
	}
	if file == "" {
		return "", fmt.Errorf("the development keys know app demo only; name a configuration with app %q by --config", app)
	}
	return "", fmt.Errorf("%s has no app %q", file, app)
}

// Token is the same with the app's first key in c.
func (c *Config) Token(app, user string, ttl time.Duration) (string, error) {
	iss, ok := c.Issuer(app)
	if !ok {
		return "", fmt.Errorf("the configuration has no app %q", app)
	}
	if ttl <= 0 {
		return "", fmt.Errorf("a token that is good for %v is good for nothing; give a time above zero", ttl)
	}
	return token.Sign(iss, presence.UserID(user), ttl, time.Now())
}
