package natsstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	letterVersion = 1

	// mostLetters is what dead letters may take of the disk, and letterShare the
	// part of the log's limit that they may take when that is less.
	mostLetters = 1 << 30
	letterShare = 8

	// trimLetters is how many letters an endpoint may get before its oldest are
	// dropped again: to count them takes a millisecond.
	trimLetters = 1000

	// expireEvery is how often letters that are too old are dropped. The engine
	// could do it, but looks at another clock than its own, which tests replace.
	expireEvery = time.Hour

	// letterLook is how many letters one call of ListLetters looks at.
	letterLook = 10_000
)

var errLetter = errors.New("natsstore: a stored dead letter is of a newer version, or damaged")

// letterSubjects are the letters of an endpoint about a user, or about all ("").
func letterSubjects(e store.Endpoint, user presence.UserID) string {
	token := "*"
	if user != "" {
		token = userToken(user)
	}
	return letterSubject + string(e.App) + "." + base64.RawURLEncoding.EncodeToString([]byte(e.Name)) + "." + token
}

func appendLetter(dst []byte, l *store.Letter) []byte {
	dst = presence.AppendText(append(dst, letterVersion), string(l.User.ID))
	for _, n := range []uint64{uint64(l.At), uint64(l.Lane), l.UserSeq, uint64(l.Attempts)} {
		dst = presence.AppendNumber(dst, n)
	}
	dst = presence.AppendText(presence.AppendText(dst, l.Position), l.Reason)
	return append(dst, l.Body...)
}

func parseLetter(b []byte) (l store.Letter, err error) {
	if len(b) == 0 || b[0] != letterVersion {
		return l, errLetter
	}
	id, b, err := presence.ParseText(b[1:])
	var at, lane, attempts uint64
	for _, n := range []*uint64{&at, &lane, &l.UserSeq, &attempts} {
		if err == nil {
			*n, b, err = presence.ParseNumber(b)
		}
	}
	for _, s := range []*string{&l.Position, &l.Reason} {
		if err == nil {
			*s, b, err = presence.ParseText(b)
		}
	}
	if err != nil || lane > store.MaxLanes {
		return store.Letter{}, errLetter
	}
	l.User.ID, l.At, l.Lane, l.Attempts = presence.UserID(id), presence.Time(at), int(lane), int(attempts)
	l.Body = append([]byte(nil), b...)
	return l, nil
}

// AddLetters implements store.Letters.
func (s *Store) AddLetters(ctx context.Context, e store.Endpoint, letters []store.Letter) error {
	if err := checkEndpoint(e); err != nil {
		return err
	}
	for i := range letters {
		l := &letters[i]
		if len(l.Body) > store.MaxLetterBody || l.User.App != e.App || !presence.ValidUserID(string(l.User.ID)) || l.Lane < 0 || l.Lane > store.MaxLanes {
			return fmt.Errorf("natsstore: dead letter of %d bytes: at most %d, and about a user of the endpoint's app: %w", len(l.Body), store.MaxLetterBody, store.ErrRefused)
		}
	}
	for i := range letters {
		if _, err := s.publishInRoom(ctx, letterSubjects(e, letters[i].User.ID), appendLetter(nil, &letters[i])); err != nil {
			return fmt.Errorf("natsstore: dead letter %d of %d: %w", i, len(letters), err)
		}
	}
	s.mu.Lock()
	s.letters[e] += len(letters)
	due := s.letters[e] >= trimLetters
	if due {
		s.letters[e] = 0
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	err := s.dead.Purge(ctx, jetstream.WithPurgeSubject(letterSubjects(e, "")), jetstream.WithPurgeKeep(store.MaxLetters))
	if err != nil {
		s.cfg.Logger.Warn("the oldest dead letters stay for now", "app", e.App, "endpoint", e.Name, "error", err)
	}
	return nil
}

// ListLetters implements store.Letters.
func (s *Store) ListLetters(ctx context.Context, e store.Endpoint, filter store.LetterFilter, page store.LetterPage) (letters []store.Letter, next uint64, err error) {
	if err := s.closed(); err != nil {
		return nil, 0, err
	}
	if err := checkEndpoint(e); err != nil {
		return nil, 0, err
	}
	info, err := s.dead.Info(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("natsstore: dead letters: %w", refineRead(err))
	}
	looked := 0
	part := span{from: page.After + 1, through: info.State.LastSeq, subject: letterSubjects(e, filter.User)}
	err = s.read(ctx, s.dead, part, func(m jetstream.Msg, seq uint64) error {
		if looked++; looked > letterLook || len(letters) >= max(page.Limit, 1) {
			return errEnough
		}
		l, err := parseLetter(m.Data())
		if err != nil {
			return err
		}
		l.Number, l.User.App, next = seq, e.App, seq
		if filter.Match(&l) {
			letters = append(letters, l)
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return letters, next, nil
	case err != nil:
		return nil, 0, err
	}
	return letters, 0, nil
}

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// CountLetters implements store.Letters.
func (s *Store) CountLetters(ctx context.Context, e store.Endpoint) (int, error) {
	if err := s.closed(); err != nil {
		return 0, err
	}
	if err := checkEndpoint(e); err != nil {
		return 0, err
	}
	if s.clustered {
		info, err := s.dead.Info(ctx, jetstream.WithSubjectFilter(s.subject(letterSubjects(e, ""))))
		if err != nil {
			return 0, fmt.Errorf("natsstore: cannot count dead letters: %w", refineRead(err))
		}
		count := 0
		for _, n := range info.State.Subjects {
			count += int(n)
		}
		return count, nil
	}
	reader, err := s.dead.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubjects: []string{s.subject(letterSubjects(e, ""))}, InactiveThreshold: readerLinger,
	})
	if err != nil {
		return 0, fmt.Errorf("natsstore: cannot count dead letters: %w", refineRead(err))
	}
	defer s.endReader(ctx, s.dead, reader)
	return int(reader.CachedInfo().NumPending), nil
}

// ReadLetter implements store.Letters.
func (s *Store) ReadLetter(ctx context.Context, e store.Endpoint, number uint64) (store.Letter, error) {
	if err := s.closed(); err != nil {
		return store.Letter{}, err
	}
	if err := checkEndpoint(e); err != nil {
		return store.Letter{}, err
	}
	if number == 0 {
		return store.Letter{}, store.ErrNoLetter
	}
	m, err := s.dead.GetMsg(ctx, number)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return store.Letter{}, store.ErrNoLetter
	}
	if err != nil {
		return store.Letter{}, fmt.Errorf("natsstore: cannot read a dead letter: %w: %w", store.ErrUnknown, refineRead(err))
	}
	if !strings.HasPrefix(m.Subject, strings.TrimSuffix(letterSubjects(e, ""), "*")) {
		return store.Letter{}, store.ErrNoLetter // another endpoint's
	}
	l, err := parseLetter(m.Data)
	l.Number, l.User.App = number, e.App
	return l, err
}

// TakeLetters implements store.Letters.
func (s *Store) TakeLetters(ctx context.Context, e store.Endpoint, numbers []uint64) error {
	for _, n := range numbers {
		switch _, err := s.ReadLetter(ctx, e, n); {
		case errors.Is(err, store.ErrNoLetter):
			continue
		case err != nil && !errors.Is(err, errLetter):
			return err
		}
		if err := s.dead.DeleteMsg(ctx, n); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return fmt.Errorf("natsstore: cannot take a dead letter away: %w: %w", store.ErrUnknown, refineRead(err))
		}
	}
	return nil
}

// EraseLetters implements store.Letters.
func (s *Store) EraseLetters(ctx context.Context, user presence.User) error {
	if err := s.closed(); err != nil {
		return err
	}
	subject := letterSubject + string(user.App) + ".*." + userToken(user.ID)
	if err := s.dead.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
		return fmt.Errorf("natsstore: cannot erase dead letters: %w: %w", store.ErrUnknown, refineRead(err))
	}
	return nil
}

// expireLetters drops the letters older than that.
func (s *Store) expireLetters(ctx context.Context, most time.Duration) {
	info, err := s.dead.Info(ctx)
	if err != nil || info.State.Msgs == 0 || time.Since(info.State.FirstTime) < most {
		return
	}
	young := info.State.LastSeq + 1
	err = s.read(ctx, s.dead, span{through: info.State.LastSeq}, func(m jetstream.Msg, seq uint64) error {
		at, err := m.Metadata()
		if err == nil && time.Since(at.Timestamp) < most {
			young, err = seq, errEnough
		}
		return err
	})
	if err == nil || errors.Is(err, errEnough) {
		err = s.dead.Purge(ctx, jetstream.WithPurgeSequence(young))
	}
	if err != nil && ctx.Err() == nil {
		s.cfg.Logger.Warn("old dead letters stay for now", "error", err)
	}
}
