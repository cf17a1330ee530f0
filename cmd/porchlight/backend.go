package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// backendFlags say which server's REST API to speak to, and for which app.
type backendFlags struct {
	HTTP string `name:"http" default:"http://127.0.0.1:7400" placeholder:"URL" help:"URL of the server's HTTP port. Default: ${default}."`
	Key  string `env:"PORCHLIGHT_KEY" placeholder:"K" help:"Server key of the app; PORCHLIGHT_KEY works too. Default on loopback: the development key."`
	CA   string `name:"ca" placeholder:"FILE" help:"With https: trust the certificate authorities in this PEM file, and only those."`
}

// answerLimit bounds one request to a server that is trusted by --ca.
const answerLimit = 30 * time.Second

// backend makes the client that the flags ask for; locale is that of texts.
func (f backendFlags) backend(c console, locale string) (*client.Backend, error) {
	u, err := url.Parse(f.HTTP)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("--http %q is no URL such as http://127.0.0.1:7400", f.HTTP)
	}
	local := loopback(hostPort(u))
	key := f.Key
	switch {
	case key == "" && local:
		key = config.DevelopmentServerKey
	case key == "":
		return nil, errors.New("say which app: --key (or PORCHLIGHT_KEY) with one of its server keys")
	}
	if !local && u.Scheme == "http" {
		fmt.Fprintf(c.err, "porchlight: warning: the connection to %s is not encrypted, anybody on the way can read the key\n", u.Host)
	}
	cfg := client.BackendConfig{URL: f.HTTP, Key: key, Locale: locale}
	if f.CA != "" {
		if u.Scheme != "https" {
			return nil, fmt.Errorf("--ca is for https; --http is %s", f.HTTP)
		}
		trust, err := trusting(f.CA)
		if err != nil {
			return nil, err
		}
		cfg.HTTP = &http.Client{Timeout: answerLimit, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, ForceAttemptHTTP2: true}}
	}
	return client.NewBackend(cfg)
}

func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return u.Host + ":0"
	}
	return u.Host
}
