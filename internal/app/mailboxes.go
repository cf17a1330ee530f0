package app

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/telemetry"
)

func (a *App) startMailboxes(ctx context.Context) (err error) {
	c := mailbox.Config{Store: a.store, Takes: a.tracker.Takes, Logger: a.log}
	if a.p.Nodes != nil {
		c.Tell, c.Mine = a.tellMail, func() bool { return a.mine(dutyMail) }
	}
	if a.mailboxes, err = mailbox.New(c); err != nil {
		return err
	}
	return a.mailboxes.Start(ctx)
}

func (a *App) stopMailboxes(ctx context.Context) error {
	return a.lastOnes("notifications that were being put may not be stored, nobody was told that they are", a.mailboxes.Stop(ctx))
}

// dutyMail is what the one node has that cuts the stream of all mailboxes.
const dutyMail = "mailboxes"

// tellMail tells the other nodes of an entry of the mailboxes' stream. Before this
// node takes part nobody puts anything; a long one they read themselves.
func (a *App) tellMail(sequence uint64, raw []byte) {
	b := presence.AppendNumber(nil, sequence)
	if len(b)+len(raw) <= cluster.MaxMessage {
		b = append(b, raw...)
	}
	a.tellOthers(topicOfMail, b)
}

// toldMail brings what other nodes put into mailboxes to the connections here.
type toldMail struct{ a *App }

// Told implements cluster.Topic.
func (t toldMail) Told(_ uint64, b []byte) {
	sequence, raw, err := presence.ParseNumber(b)
	if err != nil || len(raw) == 0 {
		t.a.mailboxes.Missed()
		return
	}
	t.a.mailboxes.Stored(sequence, raw)
}

// Missed implements cluster.Topic.
func (t toldMail) Missed(uint64) { t.a.mailboxes.Missed() }

// nudge puts a live notification for the demo page.
func (a *App) nudge(ctx context.Context, to presence.User, text, link string) error {
	_, err := a.mailboxes.Put(ctx, []mailbox.Item{{User: to, Publisher: "demo", Source: "Porchlight demo", Text: text, Action: link, TTL: mailbox.DefaultTTL}})
	return err
}

var mailboxSources = []telemetry.Source{
	{Name: "mailbox_messages", Help: "Live notifications that wait for their users."},
	{Name: "mailbox_bytes", Help: "Bytes of them on disk."},
	{Name: "mailbox_stream_bytes", Help: "Bytes that they take on disk with what has left them and is not cut yet."},
	{Name: "mailbox_text_bytes", Help: "Bytes of their texts in memory."},
	{Name: "mailbox_takers", Help: "Connections that take live notifications."},
	{Name: "mailbox_waiting", Help: "Calls that are not stored yet."},
	{Name: "mailbox_put_total", Help: "Live notifications stored.", Counter: true},
	{Name: "mailbox_entries_total", Help: "Entries of the store that they and all else of mailboxes went into.", Counter: true},
	{Name: "mailbox_moved_total", Help: "Live notifications written anew, so that what had left before them could be cut.", Counter: true},
	{Name: "mailbox_refused_total", Help: "Calls that the store did not take; their callers were told.", Counter: true},
}

func (a *App) readMailboxes(give give) {
	s := a.mailboxes.Stats()
	for i, n := range []float64{
		float64(s.Messages), float64(s.Bytes), float64(s.Stored), float64(s.Text), float64(s.Takers),
		float64(s.Waiting), float64(s.Put), float64(s.Entries), float64(s.Moved), float64(s.Refused),
	} {
		give(i, n)
	}
}
