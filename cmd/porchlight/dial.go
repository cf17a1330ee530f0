package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// tokenLife is how long a token signed for --user is good; the Go client asks
// for a new one when it expires.
const tokenLife = time.Hour

// tokenEnv is the environment variable that stands in for --token. With --user
// it counts for nothing: it may be there for other commands.
const tokenEnv = "PORCHLIGHT_TOKEN"

// dialFlags say which server to speak to, and as whom.
type dialFlags struct {
	GRPC  string `name:"grpc" default:"127.0.0.1:7401" placeholder:"ADDR" help:"gRPC address of the server. Default: ${default}."`
	Token string `env:"PORCHLIGHT_TOKEN" placeholder:"T" help:"Access token (JWT); PORCHLIGHT_TOKEN works too."`
	User  string `placeholder:"USER" help:"Sign in as this user with the development keys (loopback only)."`
	TLS   bool   `name:"tls" help:"Speak TLS; the server's certificate must be good for ADDR."`
	CA    string `name:"ca" placeholder:"FILE" help:"Trust the certificate authorities in this PEM file, and only those; implies --tls."`
}

// security is how the connection is encrypted; nil leaves it in the clear.
func (f dialFlags) security() (*tls.Config, error) {
	if f.CA == "" {
		if f.TLS {
			return &tls.Config{MinVersion: tls.VersionTLS12}, nil
		}
		return nil, nil
	}
	return trusting(f.CA)
}

// trusting is TLS with the authorities in a PEM file, and no others.
func trusting(file string) (*tls.Config, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("--ca %s: no certificate in it; it must be PEM", file)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, nil
}

// readFlags are those of commands that show texts.
type readFlags struct {
	Locale string `placeholder:"LOCALE" help:"Language to read texts in, such as de or pt-BR. Default: that of $$LANG."`
}

func (r readFlags) locale() string {
	if r.Locale != "" {
		return r.Locale
	}
	return locale()
}

// dial makes the Go client that the flags ask for.
func (f dialFlags) dial(c console, product, locale string) (*client.Client, error) {
	var source func(context.Context) (string, error)
	switch {
	case f.User != "" && f.Token != "" && f.Token != os.Getenv(tokenEnv):
		return nil, errors.New("--user and --token say both who you are; give one")
	case f.User != "":
		if !loopback(f.GRPC) {
			return nil, fmt.Errorf("--user signs with keys that everybody knows, so it works on loopback only; use --token for %s", f.GRPC)
		}
		source = func(context.Context) (string, error) {
			return config.Token(config.TokenParams{App: "demo", User: f.User, TTL: tokenLife})
		}
	case f.Token != "":
		source = func(context.Context) (string, error) { return f.Token, nil }
	default:
		return nil, errors.New("say who you are: --user NAME on a development node, or --token (or PORCHLIGHT_TOKEN) with a JWT")
	}
	secure, err := f.security()
	if err != nil {
		return nil, err
	}
	if secure == nil && !loopback(f.GRPC) {
		fmt.Fprintf(c.err, "porchlight: warning: the connection to %s is not encrypted, anybody on the way can read the token; use --tls if the server has it\n", f.GRPC)
	}
	return client.New(client.Config{
		Addr: f.GRPC, Token: source, TLS: secure, Insecure: true,
		Device: client.Device{Platform: "cli", Product: product, Locale: locale},
	})
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// locale is the user's, as the environment has it; empty when it has none.
func locale() string {
	lang := os.Getenv("LANG")
	for i, r := range lang {
		if r == '.' || r == '@' {
			lang = lang[:i]
			break
		}
	}
	if lang == "C" || lang == "POSIX" {
		return ""
	}
	return lang
}

// shows maps the words of --status.
func show(word string) (client.Show, error) {
	switch s := client.Show(word); s {
	case client.Online, client.Away, client.Busy:
		return s, nil
	}
	return "", fmt.Errorf("--status is online, away or busy, not %q", word)
}
