package bench

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	smallBuffer  = 4 << 10
	smallSegment = 536 // the least that every host takes
)

// step is how far a device has come.
type step uint8

const (
	stepMake      step = iota // waits for its session
	stepSubscribe             // waits for the answer to its subscriptions
	stepSnapshot              // stream open, waits for the snapshot of its friends
	stepReady                 // logged in
	stepLeft                  // said good-bye
)

func (s step) String() string {
	return [...]string{"make a session", "subscribe", "connect", "logged in", "left"}[s]
}

// device is one user of the load: his connection, how far he is, and what he
// speaks.
type device struct {
	user    int32
	friends []int32 // whom he watches
	small   bool    // its socket holds little, and it is not counted
	target  *target
	fd      int   // -1 when closed
	slot    int32 // number in the epoll set
	blocked bool  // waits until it may write
	step    step
	busy    bool   // a call waits for its answer
	sentAt  int64  // when the last change was sent
	rest    []byte // begin of a frame not yet complete
	settled int    // users whose snapshot is complete
	speaker speaker
}

// speaker is the device's side of one door's dialect: bytes received go into
// feed, bytes to send collect in out. It moves the device's step and busy, and
// counts at the device's target. An error ends the run.
type speaker interface {
	// out is what waits to be written; its reader empties it.
	out() *[]byte
	// feed takes every whole frame off b and returns what is left of b.
	feed(b []byte) (rest []byte, err error)
	// start begins the login.
	start() error
	// update sends one change with the time stamp now.
	update(now int64) error
	// leave closes the session politely.
	leave() error
}

// dialect makes the speakers of one target.
type dialect interface {
	speaker(d *device, token string) speaker
}

func (d *device) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bench: %s, user %s (%s): %w", d.target.name, userName(int(d.user)), d.step, err)
}

// narrow keeps the socket of a small device, and the server's for it, from
// holding more than some KiB, so that what is not read is soon the server's.
func (d *device) narrow() error {
	if !d.small {
		return nil
	}
	return errors.Join(
		unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, smallBuffer),
		unix.SetsockoptInt(d.fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, smallSegment))
}

func (d *device) close() {
	if d.fd >= 0 {
		_ = unix.Close(d.fd) // only read from and given up: nothing to lose
		d.fd = -1
	}
}

// snapshot counts that the present of so many users is known; all says that it
// is everybody's.
func (d *device) snapshot(users int, all bool) {
	if d.step != stepSnapshot {
		return
	}
	if d.settled += max(users, 1); all || d.settled >= len(d.friends) {
		d.step = stepReady
		d.target.ready++
	}
}

// gone counts a device that left.
func (d *device) gone() {
	d.busy = false
	d.target.left++
}
