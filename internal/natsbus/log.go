package natsbus

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// repeatEvery is how often a line that the engine repeats is written. It says
	// ten times a second that a peer is away, or that a stranger knocks.
	repeatEvery = 30 * time.Second
	mostRepeats = 256 // lines that are remembered
)

// engineLog writes the server's lines to slog. Notices are the server's
// chatter at start and stop, hence debug level; debug and trace are off.
type engineLog struct {
	log  *slog.Logger
	said *said

	mu      sync.Mutex
	fatal   error // guarded by mu: why the server gave up starting
	repeats map[string]*repeat
}

// repeat is a line that was written, numbers aside.
type repeat struct {
	at    time.Time
	times int // not written since
}

// line writes a line that the engine may repeat.
func (l *engineLog) line(write func(string, ...any), text string) {
	due, times := l.due(text)
	switch {
	case due && times > 0:
		write("engine: "+text, "repeated", times)
	case due:
		write("engine: " + text)
	}
}

// due reports whether a line is to be written, and how often it came since it
// was. Numbers (connections, ports, sequences) do not make it another one.
func (l *engineLog) due(text string) (due bool, times int) {
	key := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.repeats[key]; r != nil {
		if now.Sub(r.at) < repeatEvery {
			r.times++
			return false, 0
		}
		times = r.times
	}
	if len(l.repeats) >= mostRepeats || l.repeats == nil {
		l.repeats = map[string]*repeat{}
	}
	l.repeats[key] = &repeat{at: now}
	return true, times
}

// Noticef is the server's chatter.
func (l *engineLog) Noticef(format string, v ...any) {
	l.log.Debug("engine: " + fmt.Sprintf(format, v...))
}

// Warnf lowers the words that every start after a kill has: the index of a
// stream is behind the stream itself and is made anew, which needs nobody; and of
// a cluster, that it waits for the others, which we say ourselves. That
// passwords are not hashed is so on purpose: they are made for one process.
func (l *engineLog) Warnf(format string, v ...any) {
	text, write := fmt.Sprintf(format, v...), l.log.Warn
	switch {
	case strings.Contains(text, "Stream state outdated"):
		write = l.log.Info
	case strings.Contains(text, "Waiting for routing to be established"), strings.Contains(text, "JetStream has not established contact with a meta leader"),
		strings.Contains(text, "JetStream is not current with the meta leader"):
		write = l.log.Debug
	case strings.Contains(text, "system account not setup"): // its server is being stopped
		write = l.log.Debug
	case strings.Contains(text, "Plaintext passwords detected"), strings.Contains(text, "Metalayer blocking snapshot"):
		write = l.log.Debug
	}
	l.line(write, text)
}

// Errorf keeps the words too: in a cluster they may be all there is to tell why
// a peer does not come.
func (l *engineLog) Errorf(format string, v ...any) {
	text, write := fmt.Sprintf(format, v...), l.log.Error
	if strings.Contains(text, "Error trying to connect to route") {
		write = l.log.Warn // a node that is away is missed by the others, which say so
	}
	l.line(write, text)
	l.said.keep(text)
}

// Debugf and Tracef are off.
func (l *engineLog) Debugf(string, ...any) {}

// Tracef is off.
func (l *engineLog) Tracef(string, ...any) {}

// Fatalf keeps what the server gave up for: it has no other way to say so, and
// ending the process is not for it to decide.
func (l *engineLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = errors.Join(l.fatal, fmt.Errorf(format, v...))
}

// err returns why the server gave up, or nil.
func (l *engineLog) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
