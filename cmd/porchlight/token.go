package main

import (
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// tokenCommand prints an access token.
type tokenCommand struct {
	App    string        `default:"demo" help:"App the token is for. Default: ${default}."`
	User   string        `required:"" help:"User the token is for."`
	TTL    time.Duration `name:"ttl" default:"1h" help:"How long it is good. Default: ${default}."`
	Config string        `placeholder:"FILE" help:"Configuration whose key signs; without it the development key."`
}

// Help shows an example.
func (tokenCommand) Help() string {
	return "Example:\n\n  export PORCHLIGHT_TOKEN=$(porchlight token --app demo --user alice)"
}

// Run prints it.
func (t tokenCommand) Run(c console) error {
	jwt, err := sign(t.Config, t.App, t.User, t.TTL)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, jwt)
	return nil
}

// sign makes an access token with the key of an app in a configuration file, or
// the development key without one.
func sign(file, app, user string, ttl time.Duration) (string, error) {
	c := config.Development()
	if file != "" {
		var err error
		if c, err = config.Load(file); err != nil {
			return "", err
		}
	}
	iss, ok := c.Issuer(app)
	if !ok {
		if file == "" {
			return "", fmt.Errorf("the development keys know app demo only; name a configuration with app %q by --config", app)
		}
		return "", fmt.Errorf("%s has no app %q", file, app)
	}
	if ttl <= 0 {
		return "", fmt.Errorf("--ttl must be above zero")
	}
	return token.Sign(iss, presence.UserID(user), ttl, time.Now())
}
