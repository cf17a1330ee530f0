package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/listen"
)

// How long a peer of the HTTP port may take for the head of a request, and how
// long its connection may then be idle between two.
const (
	headerLimit = 10 * time.Second
	idleLimit   = 2 * time.Minute
	maxHeader   = 16 << 10
)

// startPorts opens what is listened on, before anything is served, so that a
// port that is taken or a certificate that cannot be read stops the start.
func (a *App) startPorts(ctx context.Context) (err error) {
	l := &a.p.Config.Listen
	a.proxies.Set(l.Proxies())
	if l.TLS.Cert != "" {
		if a.certificates, err = listen.LoadCertificates(l.TLS.Cert, l.TLS.Key, a.log); err != nil {
			return err
		}
	}
	if a.p.GRPC == nil {
		if err := a.openPorts(l); err != nil {
			return err
		}
	}
	a.p.GRPC = a.wrapped(a.p.GRPC)
	if a.p.HTTP != nil {
		a.p.HTTP = a.wrapped(a.p.HTTP)
	}
	if a.certificates != nil {
		return a.certificates.Start(ctx)
	}
	return nil
}

// wrapped is a port whose connections know their true address and when they were
// last read from.
func (a *App) wrapped(l net.Listener) net.Listener {
	return listen.New(l, listen.Config{Now: a.wheel.Now, ProxyProtocol: a.p.Config.Listen.ProxyProtocol, Proxies: &a.proxies, Logger: a.log})
}

func (a *App) openPorts(l *config.Listen) (err error) {
	if a.p.GRPC, err = listen.Open("grpc", or(l.GRPC, config.DefaultGRPC)); err != nil {
		return err
	}
	if a.p.HTTP == nil {
		if a.p.HTTP, err = listen.Open("http", or(l.HTTP, config.DefaultHTTP)); err != nil {
			a.p.GRPC.Close()
			return err
		}
	}
	return nil
}

func (a *App) stopPorts(ctx context.Context) error {
	// Whoever served them has closed them; this is for a start that failed.
	a.p.GRPC.Close()
	if a.p.HTTP != nil {
		a.p.HTTP.Close()
	}
	if a.certificates != nil {
		return a.certificates.Stop(ctx)
	}
	return nil
}

// or is s, or preset when it is empty.
func or(s, preset string) string {
	if s == "" {
		return preset
	}
	return s
}

func (a *App) startHTTP(context.Context) error {
	if err := a.makeAPI(); err != nil {
		return err
	}
	if a.p.HTTP == nil {
		return nil
	}
	a.makeForeign()
	a.http = a.server(a.byHost(a.routes()))
	a.serve("http", a.http, a.p.HTTP)
	return nil
}

// server answers requests as every HTTP port of the node does.
func (a *App) server(to http.Handler) *http.Server {
	srv := &http.Server{
		Handler: a.trueAddress(to), ConnContext: a.connContext,
		ReadHeaderTimeout: headerLimit, IdleTimeout: idleLimit, MaxHeaderBytes: maxHeader,
		Protocols: &http.Protocols{}, HTTP2: a.door.HTTP2(), TLSConfig: a.tls(),
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	return srv
}

// serve serves a port until it is shut down.
func (a *App) serve(name string, srv *http.Server, l net.Listener) {
	serve := func() error { return srv.Serve(l) }
	if srv.TLSConfig != nil {
		serve = func() error { return srv.ServeTLS(l, "", "") }
	}
	go func() {
		if err := serve(); err != http.ErrServerClosed {
			a.failed <- fmt.Errorf("%s: %w", name, err)
		}
	}()
}

// tls is nil when both ports are in the clear.
func (a *App) tls() *tls.Config {
	if a.certificates == nil {
		return nil
	}
	return a.certificates.TLS()
}

func (a *App) connContext(ctx context.Context, c net.Conn) context.Context {
	return a.door.ConnContext(listen.NewContext(ctx, c), c)
}

// stopHTTP waits for requests that run, streams above all, which have been told
// to end; then it cuts what is left.
func (a *App) stopHTTP(ctx context.Context) error {
	if a.http == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, streamsEndLimit)
	defer cancel()
	if a.http.Shutdown(ctx) != nil {
		a.http.Close()
	}
	return nil
}

// trueAddress makes a request's RemoteAddr the client's address, as the proxies
// that are trusted say it.
func (a *App) trueAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = a.proxies.Client(peer(r), r.Header.Values("X-Forwarded-For"), r.Header.Values("Forwarded"))
		next.ServeHTTP(w, r)
	})
}

// peer is the address at the other end of a request's connection.
func peer(r *http.Request) string {
	if c := listen.FromContext(r.Context()); c != nil {
		return c.RemoteAddr().String() // net/http asked before the PROXY header was read
	}
	return r.RemoteAddr
}

// secure reports that a request came by TLS, to us or to a proxy that is trusted.
func (a *App) secure(r *http.Request) bool {
	return r.TLS != nil || a.proxies.Secure(peer(r), r.Header.Values("X-Forwarded-Proto"), r.Header.Values("Forwarded"))
}
