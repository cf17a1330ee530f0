package main

import (
	"fmt"
	"os"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
)

// tokenCommand prints an access token.
type tokenCommand struct {
	App    string        `default:"demo" help:"App the token is for. Default: ${default}."`
	User   string        `required:"" help:"User the token is for."`
	TTL    time.Duration `name:"ttl" default:"1h" help:"How long it is good. Default: ${default}."`
	Config string        `placeholder:"FILE" help:"Configuration whose first secret of the app signs; without it the development key."`
}

// Help shows an example.
func (tokenCommand) Help() string {
	return "Example:\n\n  export PORCHLIGHT_TOKEN=$(porchlight token --app demo --user alice)"
}

// Run prints it.
func (t tokenCommand) Run(c console) error {
	jwt, err := config.Token(config.TokenParams{File: t.Config, Environ: os.Environ(), App: t.App, User: t.User, TTL: t.TTL})
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, jwt)
	return nil
}
