package listen

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/listen/listentest"
)

// serial is the number of the certificate that is served now.
func serial(t *testing.T, c *Certificates) int64 {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	done := make(chan error, 1)
	go func() { done <- tls.Server(near, c.TLS()).Handshake(); near.Close() }()
	client := tls.Client(far, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	if err := client.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	number := client.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	go io.Copy(io.Discard, far) // session tickets
	<-done
	return number
}

// A certificate that is replaced is served without a restart; one that cannot
// be used changes nothing, and the log says why, once.
func TestCertificatesFollowTheirFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := listentest.In(dir)
		later := time.Now().Add(240 * time.Hour)
		cert1, key1 := listentest.Certificate(t, 1, later)
		f.Write(t, cert1, key1)
		var log logBook
		c, err := LoadCertificates(f.Cert, f.Key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		c.Start(t.Context())
		defer c.Stop(t.Context())
		look := func() {
			<-time.After(2 * lookEvery)
			synctest.Wait()
		}
		expect := func(when string, number int64, says string, times int) {
			t.Helper()
			if got := serial(t, c); got != number {
				t.Errorf("%s: certificate %d is served, want %d", when, got, number)
			}
			if n := strings.Count(log.String(), says); n != times {
				t.Errorf("%s: the log says %s %d times, want %d:\n%s", when, says, n, times, &log)
			}
		}
		expect("at first", 1, "level=", 0)
		look()
		expect("nothing changed", 1, "level=", 0)

		cert2, key2 := listentest.Certificate(t, 2, later)
		f.Write(t, cert2, key2)
		look()
		expect("replaced", 2, `msg="new TLS certificate"`, 1)

		f.Write(t, cert1, key2)
		look()
		look()
		expect("a key of another", 2, "the one before stays", 1)
		os.Remove(f.Key)
		look()
		look()
		expect("no key", 2, "no such file", 1)
		old, oldKey := listentest.Certificate(t, 3, time.Now().Add(-time.Hour))
		f.Write(t, old, oldKey)
		look()
		expect("one that expired", 2, "expired", 1)
		if err := c.Reload(); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("reloading it: got %v, want an error", err)
		}
		if strings.Contains(log.String(), "PRIVATE") {
			t.Error("the log holds a key")
		}

		cert4, key4 := listentest.Certificate(t, 4, later)
		f.Write(t, cert4, key4)
		if err := c.Reload(); err != nil {
			t.Error(err)
		}
		expect("asked to reload", 4, `msg="new TLS certificate"`, 2)
		look()
		expect("and later", 4, `msg="new TLS certificate"`, 2)
	})
}

func TestLoadCertificatesRefuses(t *testing.T) {
	t.Parallel()
	f := listentest.In(t.TempDir())
	quiet := slog.New(slog.DiscardHandler)
	refused := func(name, says string) {
		t.Helper()
		if _, err := LoadCertificates(f.Cert, f.Key, quiet); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, says)
		}
	}
	refused("no files", f.Cert)
	cert, key := listentest.Certificate(t, 1, time.Now().Add(time.Hour))
	f.Write(t, cert, []byte("no PEM"))
	refused("no key in the file", f.Key)
	f.Write(t, key, cert)
	refused("the two exchanged", f.Cert)
	old, oldKey := listentest.Certificate(t, 2, time.Now().Add(-time.Hour))
	f.Write(t, old, oldKey)
	if _, err := LoadCertificates(f.Cert, f.Key, quiet); err != nil {
		t.Errorf("expired at the start: got %v, want a warning only", err)
	}
}

// Old TLS is refused; what a client may speak inside is offered.
func TestTLSVersions(t *testing.T) {
	t.Parallel()
	f := listentest.In(t.TempDir())
	cert, key := listentest.Certificate(t, 1, time.Now().Add(time.Hour))
	f.Write(t, cert, key)
	c, err := LoadCertificates(f.Cert, f.Key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		version uint16
		offer   []string
		ok      bool
		got     string
	}{
		{tls.VersionTLS11, nil, false, ""}, {tls.VersionTLS12, []string{"h2", "http/1.1"}, true, "h2"},
		{tls.VersionTLS13, []string{"http/1.1"}, true, "http/1.1"}, {tls.VersionTLS13, nil, true, ""},
	} {
		near, far := net.Pipe()
		go func() { tls.Server(near, c.TLS()).Handshake(); near.Close() }()
		client := tls.Client(far, &tls.Config{
			InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: row.version, NextProtos: row.offer,
		})
		err := client.Handshake()
		if (err == nil) != row.ok || row.ok && client.ConnectionState().NegotiatedProtocol != row.got {
			t.Errorf("TLS %x, offering %v: got %v, %q; want %v, %q", row.version, row.offer, err, client.ConnectionState().NegotiatedProtocol, row.ok, row.got)
		}
		far.Close()
	}
}
