package rest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// notificationsBody bounds a body with many notifications.
const notificationsBody = 1 << 20

// Notification is what a user is to be told.
type Notification struct {
	Message   string `json:"message" doc:"Shown to the user; 1 to 512 characters." example:"Bob wants you in the room"`
	Action    string `json:"action,omitempty" doc:"What happens if the user agrees: a URL, or what the app makes of it; up to 512 characters." example:"https://chat.example/rooms/7"`
	Source    string `json:"source,omitempty" doc:"Who or what it is from, for people; up to 512 characters." example:"Chat"`
	Publisher string `json:"publisher,omitempty" doc:"Whose queue it goes into; \"\" is the app's own. Up to 128 bytes." example:"chat"`
	ID        string `json:"id,omitempty" doc:"Names it in its queue; one that is there already is not put again. Up to 128 bytes; made when it is missing." example:"room-7-call-3"`
	TTL       *int64 `json:"ttl,omitempty" doc:"For how many seconds it is worth telling; 0 is for ever. 300 when it is missing, at most 2592000." example:"60"`
}

// Notifications are several of one user.
type Notifications struct {
	Notifications []Notification `json:"notifications" nullable:"false" minItems:"1" maxItems:"1000" doc:"In their order; all are stored, or none."`
}

// Put is what became of a notification.
type Put struct {
	ID        string `json:"id" doc:"Its id." example:"room-7-call-3"`
	QueueSize int    `json:"queue_size" doc:"How many notifications its queue had right after it was put: 1 to 100." example:"1"`
}

// PutList is what became of several.
type PutList struct {
	Notifications []Put `json:"notifications" nullable:"false" doc:"In the order of the request."`
}

type (
	notifyIn struct {
		OfUser
		Body Notifications
	}
	notifyOut struct{ Body PutList }
)

func (d *Door) registerNotifications() {
	register(d, operation{
		id: "notifyUser", method: http.MethodPost, path: "/users/{id}/notifications", tag: "notifications",
		summary: "Put live notifications for a user",
		text: "Each goes into the queue of its publisher for this user: first in, first out, at most 100, of which the oldest gives way. All are stored on disk before the answer. " +
			"Connections of the user that take notifications are told at once, or the next one when it comes; what one of them was written leaves the queue. The answer proves that it is stored, not that anybody saw it. " +
			"Nobody need have been seen before. With ids of your own the request may be sent again: what is still queued is not put twice.",
		asks: map[string]any{"notifications": []any{
			map[string]any{"message": "Bob wants you in the room", "action": "https://chat.example/rooms/7", "source": "Chat", "id": "room-7-call-3", "ttl": 60},
		}},
		answers: map[string]any{"notifications": []any{map[string]any{"id": "room-7-call-3", "queue_size": 1}}},
		faults:  []fault.Kind{fault.LogUnavailable, fault.NodeUnavailable}, body: notificationsBody,
	}, d.notifyUser)
}

func (d *Door) notifyUser(ctx context.Context, in *notifyIn) (*notifyOut, error) {
	user := in.of(ctx)
	items := make([]mailbox.Item, len(in.Body.Notifications))
	for i := range in.Body.Notifications {
		n := &in.Body.Notifications[i]
		place := fmt.Sprintf("body.notifications[%d].", i)
		ttl, err := ttlOf(n.TTL, place)
		if err != nil {
			return nil, err
		}
		items[i] = n.item(user, ttl)
		if err := items[i].Check(place); err != nil {
			return nil, err
		}
	}
	receipts, err := d.cfg.Mailboxes.Put(ctx, items)
	if err != nil {
		return nil, err
	}
	out := &notifyOut{PutList{make([]Put, len(receipts))}}
	for i, r := range receipts {
		out.Body.Notifications[i] = Put{r.ID, r.Size}
	}
	return out, nil
}

func (n *Notification) item(user presence.User, ttl time.Duration) mailbox.Item {
	return mailbox.Item{User: user, Publisher: n.Publisher, ID: n.ID, Source: n.Source, Text: n.Message, Action: n.Action, TTL: ttl}
}

// ttlOf is the time that a notification is worth telling.
func ttlOf(seconds *int64, place string) (time.Duration, error) {
	if seconds == nil {
		return mailbox.DefaultTTL, nil
	}
	if most := int64(mailbox.LongestTTL / time.Second); *seconds < 0 || *seconds > most {
		return 0, fault.Invalid(place+"ttl", "a number of seconds between 0 (for ever) and %d", most)
	}
	return time.Duration(*seconds) * time.Second, nil
}
