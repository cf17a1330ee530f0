package natsbus

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// engineLog writes the server's lines to slog. Notices are the server's
// chatter at start and stop, hence debug level; debug and trace are off.
type engineLog struct {
	log  *slog.Logger
	said *said

	mu    sync.Mutex
	fatal error // guarded by mu: why the server gave up starting
}

func line(level func(string, ...any), format string, v []any) {
	level("engine: " + fmt.Sprintf(format, v...))
}

func (l *engineLog) Noticef(format string, v ...any) { line(l.log.Debug, format, v) }

// Warnf lowers the words that every start after a kill has: the index of a
// stream is behind the stream itself and is made anew, which needs nobody.
func (l *engineLog) Warnf(format string, v ...any) {
	level := l.log.Warn
	if strings.Contains(fmt.Sprintf(format, v...), "Stream state outdated") {
		level = l.log.Info
	}
	line(level, format, v)
}

// Errorf keeps the words too: in a cluster they may be all there is to tell why
// a peer does not come.
func (l *engineLog) Errorf(format string, v ...any) {
	line(l.log.Error, format, v)
	l.said.mu.Lock()
	defer l.said.mu.Unlock()
	l.said.last = fmt.Sprintf(format, v...)
}

func (l *engineLog) Debugf(string, ...any) {}
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
