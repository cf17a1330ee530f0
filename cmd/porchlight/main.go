// Command porchlight is the presence server and its tools: it runs a node
// (dev, serve), signs tokens (token), watches, sets and asks for presence
// (watch, set, who), tells and receives webhooks (webhook, changes, snapshot, history), does what an app's server does (friends, drop, notify) and measures
// itself (bench).
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/porchlight-dev/porchlight"
)

// version is what `make build` knows of the source; empty otherwise.
var version string

// commands is the command line. Each command is a small file.
type commands struct {
	Dev        devCommand        `cmd:"" help:"Run one node for development: app \"demo\", well-known keys, loopback."`
	Serve      serveCommand      `cmd:"" help:"Run one node with a configuration file."`
	Token      tokenCommand      `cmd:"" help:"Print an access token (JWT) for a user."`
	Watch      watchCommand      `cmd:"" help:"Show what users do, live, one line per notification."`
	Set        setCommand        `cmd:"" help:"Make a session with a status and hold it until Ctrl-C."`
	Who        whoCommand        `cmd:"" help:"Ask who is online."`
	Attributes attributesCommand `cmd:"" help:"Read and write attributes of users with a server key."`
	Friends    friendsCommand    `cmd:"" help:"Read and write friend lists with a server key."`
	Drop       dropCommand       `cmd:"" help:"End a user's sessions with a server key."`
	Notify     notifyCommand     `cmd:"" help:"Put a live notification for a user with a server key."`
	Webhook    webhookCommand    `cmd:"" help:"See how webhooks are doing, tell them again, receive them."`
	Changes    changesCommand    `cmd:"" help:"Fetch what happened, with a server key."`
	Snapshot   snapshotCommand   `cmd:"" help:"Fetch everybody's presence, with a server key."`
	History    historyCommand    `cmd:"" help:"Fetch a user's last 30 days, with a server key."`
	Config     configCommand     `cmd:"" help:"Check configurations."`
	Cluster    clusterCommand    `cmd:"" help:"Move data between nodes and clusters, and see how they are doing."`
	Bench      benchCommand      `cmd:"" help:"Measure a server under the standard load, beside a null server."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
}

// console is where a command reads and writes, so that none uses the process's
// own directly.
type console struct {
	out, err io.Writer
}

func main() {
	os.Exit(run(os.Args[1:], console{os.Stdout, os.Stderr}))
}

// run is main without the process: it returns the exit code.
func run(args []string, c console) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal stops in order, a second one at once.
	context.AfterFunc(ctx, stop)
	if role := os.Getenv(benchRole); role != "" {
		return benchChild(ctx, c, role)
	}
	var cmd commands
	code := -1
	parser, err := kong.New(&cmd, kong.Name("porchlight"),
		kong.Description("Who is online, on which devices, doing what, since when.\n\nTry it: porchlight dev, then in other terminals: porchlight watch --user alice bob, and porchlight set --user bob --status busy"),
		kong.Writers(c.out, c.err), kong.Exit(func(n int) { code = n }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(c), kong.UsageOnError())
	if err != nil {
		fmt.Fprintln(c.err, "porchlight:", err)
		return 1
	}
	parsed, err := parser.Parse(args)
	if code >= 0 {
		return code
	}
	if err == nil {
		err = parsed.Run()
	}
	if err != nil {
		// The Go client names the program in its errors too.
		said := strings.TrimPrefix(err.Error(), "porchlight: ")
		fmt.Fprintln(c.err, "porchlight:", strings.ReplaceAll(said, ": porchlight: ", ": "))
		return 1
	}
	return 0
}

// versionCommand prints the version.
type versionCommand struct{}

// Run prints it.
func (versionCommand) Run(c console) error {
	built := ""
	if version != "" && version != porchlight.Version {
		built = " (" + version + ")"
	}
	fmt.Fprintf(c.out, "porchlight %s%s\n", porchlight.Version, built)
	return nil
}
