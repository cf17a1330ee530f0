package natsbus

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
)

// TestExpiryIsSaid: of a certificate that ends soon the log speaks once a day, and
// of one that has ended at once.
func TestExpiryIsSaid(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	now := time.Now()
	e := &expiry{log: slog.New(slog.NewTextHandler(&log, nil)), whom: "the other nodes", until: now.Add(16*24*time.Hour + time.Minute/2)}
	for _, c := range []struct{ days, soon, expired int }{{1, 0, 0}, {2, 0, 0}, {3, 1, 0}, {4, 2, 0}, {16, 14, 0}, {17, 14, 1}, {19, 14, 3}} {
		for end := e.until.Add(time.Duration(c.days-16)*24*time.Hour - time.Minute); now.Before(end); now = now.Add(expiryLook) {
			e.look(now)
		}
		if soon, expired := strings.Count(log.String(), "expires soon"), strings.Count(log.String(), "has expired"); soon != c.soon || expired != c.expired {
			t.Errorf("on day %d: said %d times that it expires soon and %d times that it has, want %d and %d", c.days, soon, expired, c.soon, c.expired)
		}
	}
}

// TestExpiredForNATS: a certificate that no server takes is refused before it is
// shown to one.
func TestExpiredForNATS(t *testing.T) {
	t.Parallel()
	for until, want := range map[time.Duration]string{-time.Hour: "would refuse this node's certificate (cluster.tls.cert", time.Hour: ""} {
		cert, key := listentest.Certificate(t, 1, time.Now().Add(until))
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(Config{Cluster: &Cluster{URLs: []string{"tls://127.0.0.1:1"}, TLS: &tls.Config{Certificates: []tls.Certificate{pair}}}})
		if got := fmt.Sprint(err); err == nil != (want == "") || !strings.Contains(got, want) {
			t.Errorf("until %v: got %v, want %q", until, err, want)
		}
	}
}

// TestUnconnected: each kind of refusal says what to do.
func TestUnconnected(t *testing.T) {
	t.Parallel()
	b := &Bus{cfg: Config{Cluster: &Cluster{URLs: []string{"tls://a:4222"}}}}
	verify := func(err error) error {
		return fmt.Errorf("nats: tls error: %w", &tls.CertificateVerificationError{Err: err})
	}
	for says, err := range map[string]error{
		"does not take the credentials":  nats.ErrAuthorization,
		"is it running":                  nats.ErrNoServers,
		"is not valid now: renew it":     verify(x509.CertificateInvalidError{Reason: x509.Expired}),
		"give those of who signed them":  verify(x509.UnknownAuthorityError{}),
		"give one that they believe (cl": errors.New("remote error: tls: bad certificate"),
		"their logs say why":             errors.New("nats: tls error: connection closed by remote after TLS handshake: EOF"),
		"cannot connect":                 errors.New("other"),
	} {
		if got := b.unconnected(err); !strings.Contains(got.Error(), says) || !errors.Is(got, err) {
			t.Errorf("%v: got %v, want %q", err, got, says)
		}
	}
}
