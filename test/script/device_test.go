package script

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// patience bounds one call by the story's clock; the server answers an opening
// that waits for its store after ten seconds.
const patience = time.Minute

// device is a session's token and its newest stream.
type device struct {
	story  *story
	name   string
	user   string
	link   string // name of its link
	token  string
	last   atomic.Uint64  // number of the newest message of any stream
	open   *stream        // newest; nil before the first connect
	opened int            // streams so far
	peer   *doortest.Peer // newest connection at the live door
	kept   keptMessages
	tally  tally
	gateMu sync.Mutex    // guards gate
	gate   chan struct{} // not nil: the device does not read; closed when it goes on
}

// stream is one events stream.
type stream struct {
	number int // of the device's streams, from 1
	link   *link
	cancel context.CancelFunc
	deaf   atomic.Bool // its link was cut: nobody hears how it ends
}

// keptMessages are the notifications a device got, by user, for `same`.
type keptMessages struct {
	mu     sync.Mutex // guards byUser
	byUser map[string][]*isonlinev1.IsOnlineNotification
}

func (k *keptMessages) add(n *isonlinev1.IsOnlineNotification) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byUser == nil {
		k.byUser = map[string][]*isonlinev1.IsOnlineNotification{}
	}
	k.byUser[n.GetUserId()] = append(k.byUser[n.GetUserId()], n)
}

// stall makes the device read nothing from its stream, while its connection
// goes on answering.
func (d *device) stall() {
	d.gateMu.Lock()
	defer d.gateMu.Unlock()
	d.gate = make(chan struct{})
}

// read ends a stall.
func (d *device) read() {
	d.gateMu.Lock()
	defer d.gateMu.Unlock()
	if d.gate != nil {
		close(d.gate)
		d.gate = nil
	}
}

// mayRead returns when the device reads.
func (d *device) mayRead() {
	d.gateMu.Lock()
	gate := d.gate
	d.gateMu.Unlock()
	if gate != nil {
		<-gate
	}
}

// connect opens a stream and hears it until its end.
func (d *device) connect(ctx context.Context, k *link, req *isonlinev1.ConnectToIsOnlineSessionRequest) {
	ctx, cancel := context.WithCancel(ctx)
	d.opened++
	o := &stream{number: d.opened, link: k, cancel: cancel}
	d.open = o
	c, err := isonlinev1.NewIsOnlineServiceClient(k.grpc).ConnectToIsOnlineSession(ctx, req)
	if err != nil {
		cancel()
		d.story.hear(d.name, o.number, "ended: %s", refusal(err))
		return
	}
	go d.hear(o, c)
}

func (d *device) hear(o *stream, c grpc.ServerStreamingClient[isonlinev1.ConnectToIsOnlineSessionResponse]) {
	defer o.cancel()
	for {
		d.mayRead()
		m, err := c.Recv()
		if o.deaf.Load() {
			return
		}
		d.mayRead()
		if err != nil {
			d.story.hear(d.name, o.number, "ended: %s", refusal(err))
			return
		}
		d.told(o, m)
	}
}

// access returns the metadata of a call by user; a name like bob(expired) says
// what is wrong with his JWT.
func (s *story) access(user, flaw string) context.Context {
	jwt := s.jwt(user, flaw)
	if jwt == "" {
		return s.t.Context()
	}
	return metadata.AppendToOutgoingContext(s.t.Context(), "authorization", "Bearer "+jwt)
}

// jwt is an access token, with a flaw or without; "" is none.
func (s *story) jwt(user, flaw string) string {
	iss, now, ttl := token.Development(), time.Now(), 24*time.Hour
	switch flaw {
	case "expired":
		now, ttl = now.Add(-2*time.Hour), time.Hour
	case "forged":
		iss.Keys = []token.Key{{ID: "dev", Secret: []byte("a key that the server has never heard of")}}
	case "foreign":
		iss.Issuer = "https://id.elsewhere"
	case "missing":
		return ""
	}
	jwt, err := token.Sign(iss, presence.UserID(user), ttl, now)
	if err != nil {
		s.t.Fatalf("token of %s: %v", user, err)
	}
	return jwt
}
