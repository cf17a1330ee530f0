package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
)

// tokenCommand prints an access token.
type tokenCommand struct {
	App       string        `default:"demo" help:"App the token is for. Default: ${default}."`
	User      string        `required:"" help:"User the token is for."`
	TTL       time.Duration `name:"ttl" default:"1h" help:"How long it is good. Default: ${default}."`
	Subscribe []string      `placeholder:"TOPIC" help:"A topic that devices may subscribe to; may be given several times."`
	Publish   []string      `placeholder:"ATTRIBUTE=TOPIC" help:"A topic where an attribute of the user is published; may be given several times."`
	Config    string        `placeholder:"FILE" help:"Configuration whose first secret of the app signs; without it the development key."`
}

// Help shows an example.
func (tokenCommand) Help() string {
	return "Example:\n\n  export PORCHLIGHT_TOKEN=$(porchlight token --app demo --user alice)\n  porchlight token --user bob --publish onlineStatus=agents --publish mood=agents"
}

// Run prints it.
func (t tokenCommand) Run(c console) error {
	p := config.TokenParams{File: t.Config, Environ: os.Environ(), App: t.App, User: t.User, TTL: t.TTL}
	if len(t.Subscribe)+len(t.Publish) > 0 {
		p.Topics = &config.TokenTopics{Subscribe: t.Subscribe}
	}
	for _, pair := range t.Publish {
		attribute, topic, ok := strings.Cut(pair, "=")
		if !ok || attribute == "" || topic == "" {
			return fmt.Errorf("--publish %q names no topic; want ATTRIBUTE=TOPIC, such as mood=agents", pair)
		}
		p.Topics.Attributes = append(p.Topics.Attributes, config.TokenPublication{Attribute: attribute, Topic: topic})
	}
	jwt, err := config.Token(p)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, jwt)
	return nil
}
