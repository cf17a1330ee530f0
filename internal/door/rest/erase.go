package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Erased says what an erasure did.
type Erased struct {
	Sessions int   `json:"sessions" doc:"How many sessions were dropped." example:"1"`
	ErasedAt Stamp `json:"erased_at" doc:"What was known of the user until then is void."`
	GoneBy   Stamp `json:"gone_by" doc:"When the last bytes leave the log on disk."`
}

type eraseIn struct{ OfUser }

type erasedOut struct{ Body Erased }

func (d *Door) registerErasure() {
	register(d, operation{
		id: "eraseUser", method: http.MethodDelete, path: "/users/{id}", tag: "users",
		summary: "Erase a user",
		text: "For good: his sessions are dropped, his last seen, attributes, friend list and blocks are forgotten, and he leaves the lists and blocks of all others. " +
			"Notifications that wait for him and dead letters about him go, and histories and replays no longer tell of him. Watchers see a user who is away and was never seen. What the log on disk says of him is void from now on for every reader; its bytes leave it with its retention, by gone_by. " +
			"For an hour the time of the erasure stays, with his id, so that nothing that comes late brings him back. " +
			"Who comes by the same id is somebody new. Sent again it erases what came since; a user never heard of is answered with 200. After an error send it again.",
		answers: map[string]any{"sessions": 1, "erased_at": "2026-05-04T10:20:30.400Z", "gone_by": "2026-06-03T10:20:30.400Z"},
		faults:  []fault.Kind{fault.LogUnavailable, fault.FriendsUnavailable, fault.NodeUnavailable},
	}, d.eraseUser)
}

func (d *Door) eraseUser(ctx context.Context, in *eraseIn) (*erasedOut, error) {
	user := in.of(ctx)
	// His sessions first: without his blocks, who may not see him would be told
	// that he is there, and then that he went.
	e, err := d.cfg.Tracker.Erase(ctx, user)
	if err != nil {
		return nil, err
	}
	if err := d.cfg.Topics.Erase(ctx, user); err != nil {
		return nil, err
	}
	if err := d.cfg.Roster.Erase(ctx, user); err != nil {
		return nil, err
	}
	if err := d.cfg.Revocations.Forget(ctx, user); err != nil {
		return nil, err
	}
	if err := d.cfg.Letters.EraseLetters(ctx, user); err != nil {
		return nil, err
	}
	if d.cfg.Grants != nil {
		if err := d.cfg.Grants.Erase(ctx, user); err != nil {
			return nil, err
		}
	}
	if err := d.cfg.Mailboxes.Erase(ctx, user); err != nil {
		return nil, err
	}
	at := e.At
	if at == 0 {
		at = presence.At(time.Now())
	}
	d.note(ctx, "erased a user", "sessions", e.Sessions) // but not whom
	return &erasedOut{Erased{e.Sessions, Stamp(at), Stamp(at.Add(d.cfg.Retention))}}, nil
}
