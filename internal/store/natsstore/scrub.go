package natsstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Who is erased leaves the bases too: behind the acknowledgement, and again at
// a start, each piece that has him is written anew without him, then the head
// that lists the new pieces, and then the old bytes are overwritten. Until the
// head is stored the base is as it was; what a crash leaves of either kind is no
// part of a base and is swept at the next start. The head says which erasures
// its pieces are clean of.

const (
	// scrubDelay lets erasures gather before the bases are gone through.
	scrubDelay = time.Second

	// scrubShare: of that much time one part is worked, the others are rested.
	scrubShare = 4

	// scrubRetry is the pause after the disk or the engine failed.
	scrubRetry = time.Minute

	// afterErasure is for how long a checkpoint remembers that a user was erased,
	// at most, clocks apart.
	afterErasure = 2 * presence.KeepClosed
)

// scrubbing scrubs bases when it is asked to, until ctx ends.
func (s *Store) scrubbing(ctx context.Context) {
	defer close(s.scrubbed)
	pause := func(d time.Duration) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.scrub:
		}
		pause(scrubDelay)
		began := time.Now()
		err := s.scrubBases(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failed = false
			pause((scrubShare - 1) * time.Since(began))
			continue
		case !failed && !errors.Is(err, store.ErrClosed):
			s.cfg.Logger.Error("erased users are still in copies of the checkpoint, though nobody is told of them; it is tried again every minute", "error", err)
		}
		failed = true
		s.askScrub()
		pause(scrubRetry)
	}
}

// askScrub has the bases gone through soon.
func (s *Store) askScrub() {
	select {
	case s.scrub <- struct{}{}:
	default:
	}
}

// scrubBases takes the users who are on the list of erasures out of all bases.
func (s *Store) scrubBases(ctx context.Context) error {
	if err := s.loadErasures(ctx); err != nil {
		return err
	}
	held, unlock, err := s.lockBases(ctx)
	if err != nil {
		return err
	}
	err = s.sweepBases(held)
	unlock()
	if err != nil {
		return err
	}
	s.mu.Lock()
	list := slices.Clone(s.bases.list)
	s.mu.Unlock()
	names := map[store.Erasure]presence.User{}
	for _, h := range slices.Backward(list) { // the newest are kept the longest
		if err := s.scrubBase(ctx, h.id, names); err != nil {
			return err
		}
	}
	return nil
}

// goneFrom returns whom a base may have who was erased, and through which stored
// erasure that is all. names keeps what was looked up.
func (s *Store) goneFrom(ctx context.Context, h *baseHead, names map[store.Erasure]presence.User) (gone []store.Gone, clean uint64, err error) {
	s.erasures.mu.Lock()
	list := slices.Clone(s.erasures.list)
	s.erasures.mu.Unlock()
	clean = h.clean
	for _, e := range list {
		if e.at <= h.clean {
			continue
		}
		clean = max(clean, e.at)
		// Later ones than the base, and those that its checkpoint remembered.
		if e.Sequence < h.From && e.Time.Add(afterErasure) < h.At {
			continue
		}
		name, known := names[e.Erasure]
		if !known {
			if name, err = s.erasedName(ctx, e.Erasure); err != nil {
				return nil, 0, err
			}
			names[e.Erasure] = name
		}
		if name.App != "" {
			gone = append(gone, store.Gone{Name: name, Erasure: e.Erasure})
		}
	}
	return gone, clean, nil
}

// erasedName finds in the log who was erased; nobody, when the log was cut there:
// no base that is good for anything is from before it then.
func (s *Store) erasedName(ctx context.Context, e store.Erasure) (presence.User, error) {
	m, err := s.logs.GetMsg(ctx, e.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return presence.User{}, nil
	}
	if err != nil {
		return presence.User{}, fmt.Errorf("natsstore: cannot read an erasure: %w", refineRead(err))
	}
	records, err := parseMessage(m.Data, e.Sequence)
	if err != nil {
		return presence.User{}, err
	}
	for i := range records {
		if r := &records[i]; r.Kind == presence.RecordErased && r.Time == e.Time && store.UserMark(r.User) == e.User {
			return r.User, nil
		}
	}
	return presence.User{}, nil
}

// scrubBase takes out of one base who was erased since it was last done.
func (s *Store) scrubBase(ctx context.Context, id string, names map[store.Erasure]presence.User) error {
	ctx, unlock, err := s.lockBases(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s.mu.Lock()
	at := slices.IndexFunc(s.bases.list, func(h baseHead) bool { return h.id == id })
	if at < 0 {
		s.mu.Unlock()
		return nil // it was dropped meanwhile
	}
	old := s.bases.list[at]
	s.mu.Unlock()
	gone, clean, err := s.goneFrom(ctx, &old, names)
	if err != nil {
		return err
	}
	if len(gone) == 0 {
		return nil
	}
	h := old
	h.pieces, h.clean = slices.Clone(old.pieces), clean
	h.Bytes -= int64(len(old.append(nil))) // the new head is as long, about, and is added
	var replaced []string                  // subjects
	if replaced, err = s.scrubPieces(ctx, &h, gone); err != nil {
		s.bases.swept = false // what was written is no part of it
		return fmt.Errorf("natsstore: erasing from the base at %d: %w", h.Position, err)
	}
	if err := s.storeHead(ctx, &h, s.publish); err != nil {
		s.mu.Lock()
		s.bases.swept, s.bases.loaded = false, false // perhaps it is stored
		s.mu.Unlock()
		return fmt.Errorf("natsstore: erasing from the base at %d: %w", h.Position, err)
	}
	s.mu.Lock()
	s.bases.list = slices.Clone(s.bases.list)
	s.bases.list[at] = h
	s.mu.Unlock()
	s.bases.swept = false
	for _, subject := range replaced {
		if err := s.overwrite(ctx, subject, 0); err != nil {
			return err
		}
	}
	err = s.overwrite(ctx, baseHeadSubject+id, h.sequence)
	s.bases.swept = err == nil
	return err
}

// scrubPieces writes the pieces of h that have somebody who is gone anew and
// returns the subjects of the old ones.
func (s *Store) scrubPieces(ctx context.Context, h *baseHead, gone []store.Gone) (replaced []string, err error) {
	byShard := map[int][]store.Gone{}
	for _, g := range gone {
		n := store.Shard(g.Name)
		byShard[n] = append(byShard[n], g)
	}
	pack, err := newPacker()
	if err != nil {
		return nil, err
	}
	defer pack.close()
	next := 0
	for _, p := range h.pieces {
		next = max(next, p.at+p.messages)
	}
	for i, p := range h.pieces {
		last := store.Shards
		if i+1 < len(h.pieces) {
			last = h.pieces[i+1].first
		}
		touched := false
		for n := p.first; n < last; n++ {
			touched = touched || byShard[n] != nil
		}
		if !touched {
			continue
		}
		raw, err := s.readPiece(ctx, pack.unzip, h, p)
		if err != nil {
			return nil, err
		}
		stripped, changed, err := stripPiece(raw, byShard)
		if err != nil {
			return nil, err
		}
		if !changed {
			continue
		}
		for m := range p.messages {
			replaced = append(replaced, pieceName(h.id, p.at+m))
		}
		body := pack.zip.EncodeAll(stripped, nil)
		now := piece{first: p.first, at: next, raw: len(stripped)}
		if now.messages, err = s.storePiece(ctx, h.id, next, body, s.publish); err != nil {
			return nil, err
		}
		h.pieces[i], next = now, next+now.messages
	}
	return replaced, nil
}

// stripPiece takes out of a piece's shards who is gone.
func stripPiece(raw []byte, gone map[int][]store.Gone) (stripped []byte, changed bool, err error) {
	err = eachShard(raw, 0, store.Shards-1, func(n int, through uint64, state []byte) error {
		if of := gone[n]; of != nil {
			without, took, err := store.StripShard(state, through, of)
			if err == nil && took { // one that cannot be read is nobody's
				state, changed = without, true
			}
		}
		stripped = appendPieceShard(stripped, n, through, state)
		return nil
	})
	return stripped, changed, err
}

// packer compresses pieces and reads them.
type packer struct {
	zip   *zstd.Encoder
	unzip *zstd.Decoder
}

func newPacker() (p packer, err error) {
	if p.zip, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault)); err != nil {
		return p, err
	}
	p.unzip, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxShard))
	return p, err
}

func (p *packer) close() {
	_ = p.zip.Close()
	p.unzip.Close()
}

// overwrite deletes the messages of a subject in the bases' stream, but for the
// one to keep, and writes noise over their bytes.
func (s *Store) overwrite(ctx context.Context, subject string, keep uint64) error {
	for from := uint64(1); ; {
		m, err := s.base.GetMsg(ctx, from, jetstream.WithGetMsgSubject(s.subject(subject)))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return nil
		case err != nil:
			return fmt.Errorf("natsstore: cannot overwrite what was erased: %w", refineRead(err))
		}
		if from = m.Sequence + 1; m.Sequence == keep {
			continue
		}
		if err := s.base.SecureDeleteMsg(ctx, m.Sequence); err != nil {
			return fmt.Errorf("natsstore: cannot overwrite what was erased: %w", refineRead(err))
		}
	}
}

// sweepBases overwrites what is no part of a base, once: of scrubs, drops and new
// bases that a crash or an error broke off; basing is held.
func (s *Store) sweepBases(ctx context.Context) error {
	if s.bases.swept {
		return nil
	}
	s.mu.Lock()
	of, known := map[string]uint64{}, map[string]bool{}
	for i := range s.bases.list {
		h := &s.bases.list[i]
		of[h.id] = h.sequence
		for _, p := range h.pieces {
			for m := range p.messages {
				known[pieceName(h.id, p.at+m)] = true
			}
		}
	}
	s.mu.Unlock()
	info, err := s.base.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return fmt.Errorf("natsstore: bases: %w", refineRead(err))
	}
	for subject, messages := range info.State.Subjects {
		if id, ok := strings.CutPrefix(subject, baseHeadSubject); ok {
			if messages < 2 || of[id] == 0 {
				continue
			}
			err = s.overwrite(ctx, subject, of[id])
		} else {
			id, _, _ := strings.Cut(strings.TrimPrefix(subject, basePieceSubject), ".")
			if known[subject] && of[id] != 0 {
				continue
			} // else nobody lists it: no base is being made, since basing is held
			err = s.overwrite(ctx, subject, 0)
		}
		if err != nil {
			return err
		}
	}
	s.bases.swept = true
	return nil
}
