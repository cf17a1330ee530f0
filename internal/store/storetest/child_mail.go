package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// What the child does to mailboxes, what it says of it, and how that is verified.

// childMail is how many entries the child keeps.
const childMail = 12

// keepMail adds entries to the mailboxes and cuts old ones. at makes their content,
// and grows.
func keepMail(ctx context.Context, s store.Mailboxes, at uint64) {
	var seqs []uint64
	last, err := s.ReplayMail(ctx, 0, func(seq uint64, _ []byte) error {
		seqs = append(seqs, seq)
		return nil
	})
	if err != nil {
		panic(err)
	}
	for i := range uint64(3) {
		say("mailing %d %d", last, at*3+i)
		seq, err := s.AppendMail(ctx, last, mailText(at*3+i))
		if errors.Is(err, store.ErrRefused) && !errors.Is(err, store.ErrMoved) {
			break // full until the next cut
		}
		if err != nil {
			panic(err)
		}
		last, seqs = seq, append(seqs, seq)
		say("mail %d %d", seq, at*3+i)
	}
	if len(seqs) > childMail && at%4 == 0 {
		before := seqs[len(seqs)-childMail/2]
		say("cutting %d", before)
		if err := s.CutMail(ctx, before); err != nil {
			panic(err)
		}
		say("cut %d", before)
	}
}

// mailText is the content of an entry, of up to 20 kB.
func mailText(at uint64) []byte {
	return fmt.Appendf(nil, "%d %s", at, bytes.Repeat([]byte("message "), int(at%2500)))
}

// mailFacts is what is known of mailboxes.
type mailFacts struct {
	stored  map[uint64]uint64 // content by sequence
	cutting uint64            // entries before it may be gone
	last    uint64            // the highest sequence
}

func (f *mailFacts) clone() mailFacts {
	c := *f
	c.stored = maps.Clone(f.stored)
	return c
}

// add takes the words of a line; ok tells whether it knew them.
func (f *mailFacts) add(word string, scan func(to ...any) error) (ok bool, err error) {
	var seq, at uint64
	switch word {
	case "mailing", "cut": // for people
		return true, nil
	case "mail":
		err = scan(&seq, &at)
		if seq <= f.last {
			return true, fmt.Errorf("entry %d of the mailboxes after %d", seq, f.last)
		}
		f.stored[seq], f.last = at, seq
	case "cutting":
		err = scan(&f.cutting)
	default:
		return false, nil
	}
	return true, err
}

func (f *mailFacts) verify(t testing.TB, s store.Mailboxes) {
	t.Helper()
	all, last := mailOf(t, s, 0)
	if last < f.last {
		t.Errorf("mailboxes: they end at %d, and %d was acknowledged: its number would be given again", last, f.last)
	}
	for seq, at := range f.stored {
		got, there := all[seq]
		switch {
		case there && got != string(mailText(at)):
			t.Errorf("entry %d of the mailboxes: got %.20q, want %.20q", seq, got, mailText(at))
		case !there && seq >= f.cutting:
			t.Errorf("entry %d of the mailboxes is gone, and they were cut before %d", seq, f.cutting)
		}
	}
}
