package natsbus

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"time"
)

const (
	expiryLook  = time.Minute
	expirySoon  = 14 * 24 * time.Hour // before it expires: said from then on,
	expiryAgain = 24 * time.Hour      // this often
)

// expiry says in the log that a certificate expires soon, and that it has. A node
// reads its own at the start alone, and connections that stand stay: without a word
// the first sign would be that one that restarts does not find the others.
type expiry struct {
	log   *slog.Logger
	whom  string // whom it is shown to
	until time.Time

	said    time.Time // the last time
	expired bool      // what was said then
	quit    chan struct{}
	ended   chan struct{}
}

// startExpiry watches this node's certificate for its peers or for the NATS
// cluster; mu is held.
func (b *Bus) startExpiry() {
	shown, whom := (*tls.Config)(nil), "the other nodes (peers.tls.cert)"
	switch {
	case b.cfg.Peers != nil:
		shown = b.cfg.Peers.TLS
	case b.cfg.Cluster != nil:
		shown, whom = b.cfg.Cluster.TLS, "the NATS cluster (cluster.tls.cert)"
	}
	if shown == nil || len(shown.Certificates) == 0 {
		return
	}
	leaf, err := x509.ParseCertificate(shown.Certificates[0].Certificate[0])
	if err != nil {
		return // it was checked before
	}
	b.expiry = &expiry{log: b.log, whom: whom, until: leaf.NotAfter, quit: make(chan struct{}), ended: make(chan struct{})}
	go b.expiry.run()
}

func (e *expiry) run() {
	defer close(e.ended)
	look := time.NewTicker(expiryLook)
	defer look.Stop()
	for {
		e.look(time.Now())
		select {
		case <-look.C:
		case <-e.quit:
			return
		}
	}
}

func (e *expiry) stop() {
	close(e.quit)
	<-e.ended
}

// look says what is to be said at this time.
func (e *expiry) look(now time.Time) {
	left := e.until.Sub(now)
	expired := left <= 0
	if left > expirySoon || expired == e.expired && !e.said.IsZero() && now.Sub(e.said) < expiryAgain {
		return
	}
	e.said, e.expired = now, expired
	if expired {
		e.log.Error("this node's certificate for "+e.whom+" has expired: a connection that breaks is not made again; renew it and restart this node", "since", e.until)
		return
	}
	e.log.Warn("this node's certificate for "+e.whom+" expires soon: renew it and restart this node before", "until", e.until)
}
