package tracker

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func tellsCustom(c *Config) { c.Policies = map[presence.AppID]Policy{app: {TellCustom: true}} }

// customs are the texts of custom facts in the log.
func (r *rig) customs() (texts []string) {
	_, facts := r.folded(bob)
	for _, f := range facts {
		if f.Kind == presence.RecordCustom {
			texts = append(texts, f.Session.Status.Text.Text)
		}
	}
	return texts
}

func saying(text string, show presence.Show) presence.Status {
	return presence.Status{Show: show, Text: presence.Value{Kind: presence.KindText, Text: text}}
}

func TestCustomStatusIsWrittenBehind(t *testing.T) {
	in(t, tellsCustom, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		for _, s := range []presence.Status{
			saying("lunch", presence.Online), saying("lunch", presence.Away), saying("back", presence.Away), {Show: presence.Online},
		} {
			if _, err := r.update(ref, s); err != nil {
				t.Fatal(err)
			}
			wait(time.Second)
		}
		if got, want := r.customs(), []string{"lunch", "back", ""}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q: a text that stays is no news", got, want)
		}
	})
}

// The store stands still: nobody waits, and the newest wins.
func TestCustomStatusNewestWins(t *testing.T) {
	in(t, tellsCustom, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		release := r.mem.Hold()
		began := time.Now()
		for n := range 9 {
			if _, err := r.update(ref, saying(fmt.Sprint(n), presence.Online)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("updates waited %v for the store", took)
		}
		release()
		wait(time.Second)
		if got, want := r.customs(), []string{"0", "8"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestCustomStatusThatTheStoreRefuses(t *testing.T) {
	in(t, tellsCustom, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		r.mem.Refuse(errors.New("disk full"))
		if _, err := r.update(ref, saying("lost", presence.Online)); err != nil {
			t.Fatalf("got %v, want the status current all the same", err)
		}
		wait(time.Second)
		r.mem.Recover()
		if _, err := r.update(ref, saying("kept", presence.Online)); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		if got, want := r.customs(), []string{"kept"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Where nobody reports it, nothing is written; and while hidden the record says so.
func TestCustomStatusOfOthers(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		if _, err := r.update(ref, saying("lunch", presence.Online)); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		if got := r.customs(); got != nil {
			t.Errorf("got %q, want nothing", got)
		}
		r.tr.SetPolicies(map[presence.AppID]Policy{app: {TellCustom: true}})
		hidden := saying("secret", presence.Online)
		hidden.Invisible = true
		if _, err := r.update(ref, hidden); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		_, facts := r.folded(bob)
		if last := facts[len(facts)-1]; last.Kind != presence.RecordCustom || !last.Session.Hidden {
			t.Errorf("got %+v, want the custom status of a session that is hidden", last)
		}
	})
}

// Where only how a user shows is told, a text is no news.
func TestShowIsWrittenBehind(t *testing.T) {
	tells := func(c *Config) { c.Policies = map[presence.AppID]Policy{app: {TellShow: true}} }
	in(t, tells, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		for _, s := range []presence.Status{
			saying("lunch", presence.Online), saying("lunch", presence.Away), saying("back", presence.Away), {Show: presence.Online},
		} {
			if _, err := r.update(ref, s); err != nil {
				t.Fatal(err)
			}
			wait(time.Second)
		}
		if got, want := r.customs(), []string{"lunch", ""}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
