package socket

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gobwas/ws"

	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Presets of a Config and of Options.
const (
	// DefaultMaxMessage is the longest message a peer may send.
	DefaultMaxMessage = 64 << 10
	// DefaultWriteLimit is how long one write may wait for its reader.
	DefaultWriteLimit = 30 * time.Second
	// DefaultMessageLimit is how long a message may take from its first byte to
	// its last: half of a message is memory that a peer holds.
	DefaultMessageLimit = time.Minute
	// DefaultPing is the silence after which the peer is asked whether it lives.
	DefaultPing = 10 * time.Second
	// DefaultHandshakeLimit is how long a peer may take to read the answer to its
	// handshake.
	DefaultHandshakeLimit = 10 * time.Second
	// DefaultCloseLimit is how long a peer may take to answer a close frame.
	DefaultCloseLimit = 5 * time.Second
	// DefaultWorkers is how many messages may be waiting for something at once.
	DefaultWorkers = 1024
)

// How much of what was given to Send may wait for the peer, beside the unsent
// rest of a write.
const (
	fewAnswers = 16 << 10 // beyond it no more messages are read
	maxAnswers = 64 << 10 // beyond it the connection is cut
)

// Kind is what a message is.
type Kind byte

// The two kinds of message.
const (
	Text   = Kind(ws.OpText)   // UTF-8; what comes in was checked
	Binary = Kind(ws.OpBinary) // any bytes
)

// Door is the dialect spoken on one connection. There is one value per connection, so
// it should hold no maps and no buffers while the connection is idle.
type Door interface {
	// Message takes a message of the peer. Messages come one at a time and in their
	// order; b is good until Message returns. It may call any method of c. Before it waits
	// for something (the store, another node) it says c.MayBlock, so that other
	// connections do not wait with it; the next messages of this one do.
	Message(c *Conn, kind Kind, b []byte)
	// Fill appends the messages that wait to out, until there are no more or out.Full;
	// more says that some are left, for which it is called again when these
	// are written. It is called after a Wake, never twice at once for a connection, but
	// possibly while Message runs. It must not block.
	Fill(c *Conn, out *Out) (more bool)
	// Closed is the last call, once, when the connection is gone. why is a *CloseError
	// when a close frame said so (or would have, had the peer read it), ErrSlow,
	// ErrSilent, or the error of the network: io.EOF is a peer that ended the
	// connection without a word.
	Closed(c *Conn, why error)
}

// Why a connection ended, when no close frame was possible.
var (
	// ErrSlow says that the peer did not read.
	ErrSlow = errors.New("the peer did not read what was sent to it")
	// ErrSilent says that no byte came from the peer for as long as Options.Silence.
	ErrSilent = errors.New("the peer gave no sign of life")
)

// CloseError is the end of a connection as a close frame says it.
type CloseError struct {
	Code   int
	Reason string
	Remote bool // the peer said it
}

// Error says who closed, and why.
func (e *CloseError) Error() string {
	who := "closed"
	if e.Remote {
		who = "closed by the peer"
	}
	if e.Reason == "" {
		return fmt.Sprintf("%s with code %d", who, e.Code)
	}
	return fmt.Sprintf("%s with code %d: %s", who, e.Code, e.Reason)
}

// Close codes that this package sends, and CodeNone for a close frame without one
// (RFC 6455, section 7.4.1).
const (
	CodeNormal    = 1000
	CodeGoingAway = 1001
	CodeProtocol  = 1002
	CodeNone      = 1005 // never sent
	CodeNotUTF8   = 1007
	CodePolicy    = 1008
	CodeTooBig    = 1009
	CodeInternal  = 1011
)

// Config is how all connections of a Loop are treated. Zero values mean the
// presets.
type Config struct {
	// Wheel is the clock, and fires the sweeps; required.
	Wheel *wheel.Wheel
	// Logger hears of faults of this process, never of peers; required.
	Logger *slog.Logger

	MaxMessage     int           // bytes; Options.MaxMessage goes before it
	Ping           time.Duration // silence before a ping; Options.Ping goes before it; negative: none
	WriteLimit     time.Duration // for one write
	MessageLimit   time.Duration // from the first byte of a message to its last
	HandshakeLimit time.Duration // for reading the answer to a handshake
	CloseLimit     time.Duration // for answering a close frame
	Workers        int           // messages that may wait for something at once

	// Goroutines makes every connection use the goroutine mode, for tests and
	// comparisons.
	Goroutines bool
}

func (c Config) withPresets() Config {
	preset(&c.MaxMessage, DefaultMaxMessage)
	preset(&c.Ping, DefaultPing)
	preset(&c.WriteLimit, DefaultWriteLimit)
	preset(&c.MessageLimit, DefaultMessageLimit)
	preset(&c.HandshakeLimit, DefaultHandshakeLimit)
	preset(&c.CloseLimit, DefaultCloseLimit)
	preset(&c.Workers, DefaultWorkers)
	return c
}

func preset[T comparable](value *T, to T) {
	var zero T
	if *value == zero {
		*value = to
	}
}
