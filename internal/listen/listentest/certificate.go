// Package listentest makes certificates for tests of what is spoken over TLS. It
// is not for servers: nobody signed them.
package listentest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificate makes a certificate of this machine's loopback names, its own
// authority, with a serial number by which a test knows it. Both are PEM.
func Certificate(t testing.TB, serial int64, until time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: until.Add(-1000 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// Files is a pair on disk.
type Files struct{ Cert, Key string }

// In names a pair in a directory; nothing is written.
func In(dir string) Files {
	return Files{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
}

// Write writes a pair.
func (f Files) Write(t testing.TB, cert, key []byte) {
	t.Helper()
	for path, b := range map[string][]byte{f.Cert: cert, f.Key: key} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// New writes a pair that is good for a day into a directory of the test.
func New(t testing.TB, serial int64) Files {
	t.Helper()
	f := In(t.TempDir())
	cert, key := Certificate(t, serial, time.Now().Add(24*time.Hour))
	f.Write(t, cert, key)
	return f
}
