package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is how often the files of a certificate are looked at: renewal tools
// replace them and tell nobody.
const lookEvery = 10 * time.Second

// Certificates is one certificate with its key, read again when its files
// change. What is served is always whole: a pair that cannot be used leaves the
// one before in place, and the log says why.
type Certificates struct {
	cert, key string // files
	log       *slog.Logger
	current   atomic.Pointer[tls.Certificate]

	mu         sync.Mutex // guards all below
	seen       [2][]byte  // the files as they were last looked at
	quit, done chan struct{}
}

// LoadCertificates reads a pair of PEM files; the first holds the certificate
// and the chain to its root.
func LoadCertificates(cert, key string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{cert: cert, key: key, log: log}
	files, err := c.read()
	if err != nil {
		return nil, err
	}
	pair, err := c.parse(files)
	if err != nil {
		return nil, err
	}
	if gone := time.Since(pair.Leaf.NotAfter); gone > 0 {
		// Not refused: a restart should not turn off who does not look at the date.
		log.Warn("the TLS certificate has expired; clients will refuse it", "file", cert, "since", pair.Leaf.NotAfter)
	}
	c.seen = files
	c.current.Store(pair)
	return c, nil
}

// TLS is a configuration that serves the newest pair: HTTP/2 and HTTP/1.1, TLS
// 1.2 and newer.
func (c *Certificates) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// Reload reads the files now. On an error the pair before stays in use.
func (c *Certificates) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	files, err := c.read()
	if err != nil {
		return err
	}
	c.seen = files
	return c.use(files)
}

// Start looks after the files until Stop.
func (c *Certificates) Start(context.Context) error {
	c.quit, c.done = make(chan struct{}), make(chan struct{})
	go c.run()
	return nil
}

// Stop ends that.
func (c *Certificates) Stop(context.Context) error {
	close(c.quit)
	<-c.done
	return nil
}

func (c *Certificates) run() {
	defer close(c.done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.quit:
			return
		case <-tick.C:
			c.look()
		}
	}
}

// look reads the files and takes them if they changed. The same bad pair is
// complained of once.
func (c *Certificates) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	files, err := c.read()
	if err != nil {
		files = [2][]byte{[]byte(err.Error()), nil} // never the bytes of a pair
	}
	if bytes.Equal(files[0], c.seen[0]) && bytes.Equal(files[1], c.seen[1]) {
		return
	}
	c.seen = files
	if err == nil {
		err = c.use(files)
	}
	if err != nil {
		c.log.Error("the new TLS certificate cannot be used; the one before stays", "error", err)
	}
}

// use makes a pair the one that is served. The lock is held.
func (c *Certificates) use(files [2][]byte) error {
	pair, err := c.parse(files)
	if err != nil {
		return err
	}
	old := c.current.Load()
	if time.Now().After(pair.Leaf.NotAfter) && !old.Leaf.Equal(pair.Leaf) {
		return fmt.Errorf("TLS certificate %s: expired %s", c.cert, pair.Leaf.NotAfter.UTC().Format(time.DateTime))
	}
	c.current.Store(pair)
	if !old.Leaf.Equal(pair.Leaf) {
		c.log.Info("new TLS certificate", "file", c.cert, "until", pair.Leaf.NotAfter)
	}
	return nil
}

func (c *Certificates) read() (files [2][]byte, err error) {
	if files[0], err = os.ReadFile(c.cert); err != nil {
		return files, fmt.Errorf("TLS certificate: %w", err)
	}
	if files[1], err = os.ReadFile(c.key); err != nil {
		return files, fmt.Errorf("TLS key: %w", err)
	}
	return files, nil
}

func (c *Certificates) parse(files [2][]byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(files[0], files[1])
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w", c.cert, c.key, err)
	}
	if pair.Leaf == nil {
		return nil, errors.New("TLS certificate: no leaf")
	}
	return &pair, nil
}
