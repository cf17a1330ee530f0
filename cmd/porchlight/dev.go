package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// devTokens is how long the tokens that dev prints are good.
const devTokens = 24 * time.Hour

// devCommand runs a node for development.
type devCommand struct {
	HTTP string `name:"http" default:"127.0.0.1:7400" placeholder:"ADDR" help:"HTTP address (loopback only). Default: ${default}."`
	GRPC string `name:"grpc" default:"127.0.0.1:7401" placeholder:"ADDR" help:"gRPC address (loopback only). Default: ${default}."`
	Data string `placeholder:"DIR" help:"Data directory; without it a temporary one, removed at the end."`

	Nodes int `default:"1" placeholder:"N" help:"Run so many nodes that form a cluster, on loopback: 1, or 3 to 7. The first has the addresses above, each other one ports of its own."`

	Webhook       []string `placeholder:"URL" help:"Tell this address what happens, as porchlight webhook listen takes it; several may be given."`
	WebhookFormat string   `default:"native" enum:"native,cloudevents,rongcloud,tencentim" help:"Format of --webhook: native, cloudevents, rongcloud or tencentim. Default: ${default}."`
}

// Help shows an example.
func (devCommand) Help() string {
	return "Example:\n\n  porchlight dev --data ./data\n  porchlight dev --nodes 3\n  porchlight dev --webhook http://127.0.0.1:9000/"
}

// Run serves until the process is told to stop.
func (d devCommand) Run(ctx context.Context, c console) error {
	if d.Nodes != 1 {
		return d.several(ctx, c)
	}
	o := porchlight.Options{HTTP: d.HTTP, GRPC: d.GRPC, Data: d.Data, Demo: true, Environ: d.webhooks(), Logger: logger(c)}
	return hold(ctx, node{Options: o}, func(srv *porchlight.Server) error { return d.greet(c, srv) })
}

// webhookName is what the n-th address is called, from 0.
func webhookName(n int) string {
	if n == 0 {
		return "dev"
	}
	return fmt.Sprintf("dev%d", n+1)
}

// webhooks are the addresses as variables over the development configuration.
func (d devCommand) webhooks() (environ []string) {
	for i, url := range d.Webhook {
		set := func(key, value string) {
			environ = append(environ, fmt.Sprintf("PORCHLIGHT_APPS_DEMO_WEBHOOKS_%s_%s=%s", strings.ToUpper(webhookName(i)), key, value))
		}
		set("URL", url)
		set("FORMAT", d.WebhookFormat)
		set("ALLOW_PRIVATE", "true")
		if d.WebhookFormat == config.FormatNative || d.WebhookFormat == config.FormatCloudEvents {
			set("SECRETS", config.DevelopmentWebhookSecret)
		}
	}
	return environ
}

// greetWebhooks prints where what happens is told.
func (d devCommand) greetWebhooks(c console) {
	for i, url := range d.Webhook {
		how := "signed with " + config.DevelopmentWebhookSecret
		switch d.WebhookFormat {
		case config.FormatRongCloud:
			how = fmt.Sprintf("app key %s, app secret %q", config.DevelopmentRongCloudKey, config.DevelopmentRongCloudSecret)
		case config.FormatTencentIM:
			how = fmt.Sprintf("sdkappid %d, not signed", config.DevelopmentTencentIMApp)
		}
		fmt.Fprintf(c.out, "webhook %q tells %s, format %s, %s\n", webhookName(i), url, d.WebhookFormat, how)
	}
	if len(d.Webhook) > 0 {
		fmt.Fprintln(c.out)
	}
}

// greet prints what a newcomer needs: addresses, tokens, and lines that work.
func (d devCommand) greet(c console, srv *porchlight.Server, others ...*porchlight.Server) error {
	addr := srv.GRPCAddr().String()
	fmt.Fprintf(c.out, "Porchlight %s, development node: app \"demo\", keys that everybody knows.\n\n", porchlight.Version)
	fmt.Fprintf(c.out, "grpc  %s\nhttp  %s\n\n", addr, srv.HTTPAddr())
	what, members := "node", ""
	second, third := addr, addr // what one says, all know
	if len(others) > 0 {
		second, third = others[0].GRPCAddr().String(), others[1].GRPCAddr().String()
		what, members = "nodes", fmt.Sprintf("\nHow the nodes are:\n\n  %s cluster members --http http://%s\n", os.Args[0], srv.HTTPAddr())
	}
	for i, n := range others {
		fmt.Fprintf(c.out, "node n%d\ngrpc  %s\nhttp  %s\n\n", i+2, n.GRPCAddr(), n.HTTPAddr())
	}
	d.greetWebhooks(c)
	var alice string
	for _, user := range []string{"alice", "bob", "carol"} {
		jwt, err := config.Token(config.TokenParams{App: "demo", User: user, TTL: devTokens})
		if err != nil {
			return err
		}
		if user == "alice" {
			alice = jwt
		}
		fmt.Fprintf(c.out, "%s\n  %s\n", user, jwt)
	}
	fmt.Fprintf(c.out, `
See it in a browser, as somebody else in each of two tabs:

  http://%[6]s/demo/

Try it in other terminals:

  %[3]s watch --grpc %[1]s --user alice bob
  %[3]s set   --grpc %[9]s --user bob --status busy --text "in a call"
  %[3]s who   --grpc %[10]s --user alice bob carol

A text that everybody reads in his own language (en, de and pt are built in):

  %[3]s watch --grpc %[1]s --user alice --locale de bob
  %[3]s set   --grpc %[9]s --user bob --template match.playing --arg map=@map.harbour --arg score=3 --arg other=2

Or with grpcurl:

  TOKEN=%[2]s
  grpcurl -plaintext %[1]s list
  grpcurl -plaintext -H "authorization: Bearer $TOKEN" -d '{"user_id":"bob"}' %[1]s isonline.v1.IsOnlineService/GetUserIsOnline
  SESSION=$(grpcurl -plaintext -H "authorization: Bearer $TOKEN" -d '{"client":{"platform":"web","locale":"en_US"}}' %[1]s isonline.v1.IsOnlineService/MakeIsOnlineSession | sed -n 's/.*"sessionToken": "\(.*\)".*/\1/p')
  grpcurl -plaintext -H "authorization: Bearer $TOKEN" -d "{\"session_token\":\"$SESSION\",\"user_id\":\"bob\"}" %[1]s isonline.v1.IsOnlineService/SubscribeToUserIsOnline
  grpcurl -plaintext -H "authorization: Bearer $TOKEN" -d "{\"session_token\":\"$SESSION\"}" %[1]s isonline.v1.IsOnlineService/ConnectToIsOnlineSession

Or with curl, as a web page would (docs/interfaces/isonline.md):

  curl -H "Authorization: Bearer $TOKEN" --json '{"userId":"bob"}' %[4]s/isonline.v1.IsOnlineService/GetUserIsOnline

Or as the app's backend (docs/interfaces/rest.md):

  KEY='%[5]s'
  curl -H "Authorization: Bearer $KEY" -X PUT --json '{"status":"busy","ttl":300}' %[4]s/api/v1/users/bot/presence
  curl -H "Authorization: Bearer $KEY" %[4]s/api/v1/users/bot
  curl %[4]s/openapi.json

What happens, as a backend is told it (docs/interfaces/webhooks.md; dev --webhook http://127.0.0.1:9000/ tells an address too):

  %[3]s changes --http %[4]s --follow
%[7]s
Ctrl-C stops the %[8]s.
`, addr, alice, os.Args[0], "http://"+srv.HTTPAddr().String(), config.DevelopmentServerKey, srv.HTTPAddr(), members, what, second, third)
	return nil
}
