package natsstore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// userToken makes one token of a subject of an id, which may hold dots, stars
// and spaces. It is a hash, since a value that was taken away leaves its
// subject behind, and that must not name somebody who was erased. The id is in
// the message.
func userToken(id presence.UserID) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

func rosterName(kind store.RosterKind, user presence.User) string {
	return rosterSubject + strconv.Itoa(int(kind)) + "." + string(user.App) + "." + userToken(user.ID)
}

// A value is one message:
//
//	version, user id, size of the value, the value compressed
//
// The version alone stands for a value that was taken away, or another version
// with the mark of whose it was (of rosters, so that who watches them knows). Such a message
// stays: the engine forgets an older message of a subject without a trace on
// disk, so that after a crash the older one would be back if the newer were
// dropped.
const (
	rosterVersion = 1
	takenVersion  = 2
)

var errRoster = errors.New("a stored roster is of a newer version, or damaged")

func appendRoster(dst []byte, id presence.UserID, value []byte) []byte {
	dst = append(dst, rosterVersion)
	if len(value) == 0 {
		return dst
	}
	dst = presence.AppendText(dst, string(id))
	dst = presence.AppendNumber(dst, uint64(len(value)))
	return append(dst, s2.Encode(nil, value)...)
}

// parseRoster reads what appendRoster wrote; id is "" and value nil when it was
// taken away.
func parseRoster(b []byte) (id presence.UserID, value []byte, err error) {
	if _, taken := parseTaken(b); taken {
		return "", nil, nil
	}
	if len(b) == 0 || b[0] != rosterVersion {
		return "", nil, errRoster
	}
	if len(b) == 1 {
		return "", nil, nil
	}
	text, b, err := presence.ParseText(b[1:])
	if err != nil || !presence.ValidUserID(text) {
		return "", nil, errRoster
	}
	size, b, err := presence.ParseNumber(b)
	if err != nil || size == 0 || size > store.MaxRosterValue {
		return "", nil, errRoster
	}
	if n, err := s2.DecodedLen(b); err != nil || uint64(n) != size {
		return "", nil, errRoster
	}
	if value, err = s2.Decode(nil, b); err != nil {
		return "", nil, errRoster
	}
	return presence.UserID(text), value, nil
}

// appendTaken says that the value of a user with this mark was taken away.
func appendTaken(dst []byte, mark uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, takenVersion), mark)
}

func parseTaken(b []byte) (mark uint64, taken bool) {
	if len(b) != 9 || b[0] != takenVersion {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[1:]), true
}

// LoadRoster implements store.Rosters.
func (s *Store) LoadRoster(ctx context.Context, kind store.RosterKind, user presence.User) (store.Roster, error) {
	value, revision, err := s.loadValue(ctx, s.rosters, rosterName(kind, user), user.ID)
	if err != nil {
		return store.Roster{}, err
	}
	return store.Roster{User: user, Value: value, Revision: revision}, nil
}

// loadValue reads what a subject has, of the name that stands in it.
func (s *Store) loadValue(ctx context.Context, from jetstream.Stream, subject string, name presence.UserID) (value []byte, revision uint64, err error) {
	if err := s.closed(); err != nil {
		return nil, 0, err
	}
	m, err := from.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("natsstore: cannot read a roster: %w: %w", store.ErrUnknown, refineRead(err))
	}
	id, value, err := parseRoster(m.Data)
	if err == nil && value != nil && id != name {
		err = errRoster // two names with one hash: nobody has ever seen that
	}
	if err != nil {
		return nil, 0, fmt.Errorf("natsstore: roster message %d: %w", m.Sequence, err)
	}
	return value, m.Sequence, nil
}

// SaveRoster implements store.Rosters. It waits at most 5 s for the disk.
func (s *Store) SaveRoster(ctx context.Context, kind store.RosterKind, r store.Roster) (revision uint64, err error) {
	if !presence.ValidAppID(string(r.User.App)) || !presence.ValidUserID(string(r.User.ID)) || len(r.Value) > store.MaxRosterValue {
		return 0, fmt.Errorf("natsstore: roster of %d bytes of %.16q, %.32q: values end at %d bytes and names must be valid: %w",
			len(r.Value), r.User.App, r.User.ID, store.MaxRosterValue, store.ErrRefused)
	}
	body := appendRoster(nil, r.User.ID, r.Value)
	if len(r.Value) == 0 {
		body = appendTaken(nil, store.UserMark(r.User))
	}
	return s.saveValue(ctx, rosterName(kind, r.User), body, r.Revision, len(r.Value) == 0)
}

// saveValue replaces what a subject has, if its revision is still that. What
// takes a value away needs no room: it is small, and lets users make some.
func (s *Store) saveValue(ctx context.Context, subject string, body []byte, revision uint64, taken bool) (uint64, error) {
	publish := s.publishInRoom
	if taken {
		publish = s.publish
	}
	ack, err := publish(ctx, subject, body, jetstream.WithExpectLastSequencePerSubject(revision))
	if err != nil {
		return 0, fmt.Errorf("natsstore: roster: %w", err)
	}
	return ack.Sequence, nil
}

// ScanRosters implements store.Rosters.
func (s *Store) ScanRosters(ctx context.Context, kind store.RosterKind, app presence.AppID, f func(store.Roster) error) error {
	apps := string(app)
	if app == "" {
		apps = "*"
	}
	return s.scanValues(ctx, s.rosters, rosterSubject+strconv.Itoa(int(kind))+"."+apps+".*", func(v scannedValue) error {
		names := strings.Split(v.subject, ".")
		user := presence.User{App: presence.AppID(names[len(names)-2]), ID: v.name}
		return f(store.Roster{User: user, Value: v.value, Revision: v.revision})
	})
}

// WatchRosters implements store.Rosters.
func (s *Store) WatchRosters(ctx context.Context, kind store.RosterKind, f func(store.RosterChange) error) error {
	if err := s.closed(); err != nil {
		return err
	}
	ctx, cancel := s.untilStop(ctx)
	defer cancel()
	info, err := s.rosters.Info(ctx)
	if err != nil {
		return fmt.Errorf("natsstore: cannot watch rosters: %w", refineRead(err))
	}
	r := &reader{s: s, stream: s.rosters, subject: rosterSubject + strconv.Itoa(int(kind)) + ".*.*", next: info.State.LastSeq + 1}
	defer func() { r.close(ctx) }()
	if err := r.open(ctx); err != nil {
		return fmt.Errorf("natsstore: cannot watch rosters: %w", refineRead(err))
	}
	if err := f(store.RosterChange{}); err != nil {
		return err
	}
	for {
		m, seq, err := r.await(ctx)
		if err != nil {
			return s.followEnd(ctx, err)
		}
		id, value, err := parseRoster(m.Data())
		if err != nil {
			return fmt.Errorf("natsstore: roster message %d: %w", seq, err)
		}
		names := strings.Split(m.Subject(), ".")
		c := store.RosterChange{App: presence.AppID(names[len(names)-2])}
		c.Revision, c.Value = seq, value
		if value != nil {
			c.User = presence.User{App: c.App, ID: id}
			c.Mark = store.UserMark(c.User)
		} else {
			c.Mark, _ = parseTaken(m.Data())
		}
		if err := f(c); err != nil {
			return err
		}
	}
}

// scannedValue is what a scan meets.
type scannedValue struct {
	subject  string
	name     presence.UserID
	value    []byte
	revision uint64
}

// scanValues gives all that subjects have.
func (s *Store) scanValues(ctx context.Context, from jetstream.Stream, subjects string, f func(scannedValue) error) error {
	if err := s.closed(); err != nil {
		return err
	}
	return s.readAll(ctx, from, subjects, func(m jetstream.Msg, seq uint64) error {
		id, value, err := parseRoster(m.Data())
		if err != nil {
			return fmt.Errorf("natsstore: roster message %d: %w", seq, err)
		}
		if value == nil {
			return nil
		}
		return f(scannedValue{m.Subject(), id, value, seq})
	})
}
