package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// callLimit is longer than the server may take to refuse an opening (10 s).
const callLimit = 15 * time.Second

// device is one program on somebody's device. Its methods are called by one
// goroutine at a time.
type device struct {
	w      *world
	user   string
	id     string // as ClientInfo.device_id; empty for most
	keep   bool   // its lines keep all notices
	ear    *ledger
	random *rand.Rand

	conn *grpc.ClientConn
	stub isonlinev1.IsOnlineServiceClient

	life   *life // nil: none
	line   *line // nil: no stream
	number int   // of the newest status
	hidden bool  // as it was last asked for
	quiet  bool  // does nothing until the next blow
	last   uint64
}

// dial makes a connection of its own, for the server takes bytes on a
// connection as a sign of life of who is on it.
func dial(addr string) (*grpc.ClientConn, error) {
	swift := backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, Jitter: 0.5, MaxDelay: 150 * time.Millisecond}
	return grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: swift, MinConnectTimeout: 5 * time.Second}))
}

// newDevice begins a device; it is closed with the world.
func (w *world) newDevice(user, id string, seed uint64) (*device, error) {
	d := &device{w: w, user: user, id: id, random: rand.New(rand.NewPCG(w.seed, seed))}
	var err error
	if d.conn, err = dial(w.node.grpc); err != nil {
		return nil, err
	}
	d.stub = isonlinev1.NewIsOnlineServiceClient(d.conn)
	return d, nil
}

// ask makes one call and notes it: a is stored under the history's lock when
// the call begins, and again when it is answered with success.
func (d *device) ask(note func(a act), call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(d.w.as(d.w.ctx, d.user), callLimit)
	defer cancel()
	a := act{sent: time.Now()}
	d.w.history.note(func() { note(a) })
	err := call(ctx)
	if err == nil {
		a.acked = time.Now()
		d.w.history.note(func() { note(a) })
	}
	return err
}

// make makes a session; nobody sees it yet.
func (d *device) make() error {
	ctx, cancel := context.WithTimeout(d.w.as(d.w.ctx, d.user), callLimit)
	defer cancel()
	made, err := d.stub.MakeIsOnlineSession(ctx, &isonlinev1.MakeIsOnlineSessionRequest{
		Client: &isonlinev1.ClientInfo{Platform: "test", Product: "chaos", Locale: "en", DeviceId: d.id},
	})
	if err != nil {
		return err
	}
	d.life = &life{user: d.user, public: made.GetSessionId(), token: made.GetSessionToken(), device: d.id, held: true, watches: map[string]act{}}
	d.last = 0
	d.w.history.add(d.life)
	return nil
}

// say makes the next status.
func (d *device) say() *isonlinev1.IsOnlineUpdate {
	d.number++
	return &isonlinev1.IsOnlineUpdate{
		Status:        isonlinev1.IsOnlineStatus(1 + d.random.IntN(3)),
		RichText:      &isonlinev1.RichText{Kind: &isonlinev1.RichText_Literal{Literal: textOf(d.number)}},
		AppearOffline: d.hidden,
	}
}

func textOf(number int) string { return fmt.Sprintf("n%d", number) }

// saying begins the note of u, and returns what notes its acts.
func (d *device) saying(l *life, u *isonlinev1.IsOnlineUpdate) (note func(act)) {
	place := -1
	number := d.number
	return func(a act) {
		s := saying{act: a, number: number, show: u.GetStatus(), hidden: u.GetAppearOffline()}
		if place < 0 {
			place = len(l.says)
			l.says = append(l.says, s)
			return
		}
		l.says[place] = s
	}
}

// reopening says what a Connect may do to the session.
type reopening uint8

const (
	resumes reopening = iota // nothing visible
	opens                    // it opens, for the first time or anew
)

// connect takes up the device's session. With initial it states a new status.
func (d *device) connect(how reopening, initial bool) error {
	l := d.life
	req := &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: l.token}
	if d.last > 0 && (d.keep || d.random.IntN(2) == 0) {
		req.ResumeAfter = &d.last
	}
	notes := []func(act){}
	if initial {
		req.Initial = d.say()
		notes = append(notes, d.saying(l, req.Initial))
	}
	if how == opens {
		notes = append(notes, l.openingNote())
	}
	var opened *line
	err := d.ask(func(a act) {
		for _, note := range notes {
			note(a)
		}
	}, func(context.Context) (err error) {
		opened, err = d.open(d.w.ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	d.line, d.last = opened, opened.last()
	d.w.history.note(func() { l.held = true })
	if got := opened.connected.GetSessionId(); got != l.public {
		d.w.blame("session %s of %s came back as %s", l.public, l.user, got)
	}
	return nil
}

// try connects and lets go at once, for a session that must be gone.
func (d *device) try() error {
	l, err := d.open(d.w.ctx, &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: d.life.token})
	if err == nil {
		l.end()
	}
	return err
}

// drop cuts the stream without a word.
func (d *device) drop() {
	if d.line == nil {
		return
	}
	d.line.end()
	d.last = max(d.last, d.line.last())
	if err := d.line.fault(); err != nil {
		d.w.blame("stream of %s: %v", d.user, err)
	}
	d.line = nil
}

// update states the next status, whole or in part.
func (d *device) update(partly bool) error {
	l, u := d.life, d.say()
	note := d.saying(l, u)
	return d.ask(note, func(ctx context.Context) error {
		if !partly {
			_, err := d.stub.UpdateIsOnlineSession(ctx, &isonlinev1.UpdateIsOnlineSessionRequest{SessionToken: l.token, Update: u})
			return err
		}
		_, err := d.stub.PartialUpdateIsOnlineSession(ctx, &isonlinev1.PartialUpdateIsOnlineSessionRequest{
			SessionToken: l.token, Update: u, AppearOffline: &u.AppearOffline,
		})
		return err
	})
}

// subscribe watches more users.
func (d *device) subscribe(users ...string) error {
	l := d.life
	return d.ask(func(a act) {
		for _, u := range users {
			if old, ok := l.watches[u]; !ok || !old.done() {
				l.watches[u] = a
			}
		}
	}, func(ctx context.Context) error {
		if len(users) == 1 {
			_, err := d.stub.SubscribeToUserIsOnline(ctx, &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: l.token, UserId: users[0]})
			return err
		}
		answer, err := d.stub.SubscribeToUsersIsOnline(ctx, &isonlinev1.SubscribeToUsersIsOnlineRequest{SessionToken: l.token, UserIds: users})
		if err == nil && len(answer.GetRejected()) > 0 {
			return fmt.Errorf("watches rejected: %v", answer.GetRejected())
		}
		return err
	})
}

func (d *device) unsubscribe(user string) error {
	l := d.life
	return d.ask(func(act) { delete(l.watches, user) }, func(ctx context.Context) error {
		_, err := d.stub.UnsubscribeFromUserIsOnline(ctx, &isonlinev1.UnsubscribeFromUserIsOnlineRequest{SessionToken: l.token, UserId: user})
		return err
	})
}

// bye closes the session by an explicit word.
func (d *device) bye() error {
	l, place := d.life, -1
	mode := isonlinev1.CloseMode(1 + d.random.IntN(2))
	err := d.ask(func(a act) {
		if place < 0 {
			place = len(l.byes)
			l.byes = append(l.byes, a)
			return
		}
		l.byes[place], l.ended, l.held = a, endClosed, false
	}, func(ctx context.Context) error {
		_, err := d.stub.CloseIsOnlineSession(ctx, &isonlinev1.CloseIsOnlineSessionRequest{SessionToken: l.token, Mode: mode})
		return err
	})
	if err == nil {
		d.drop()
		d.life, d.hidden = nil, false
	}
	return err
}

// away reports an error that only says that the server is not there, or goes.
func away(err error) bool {
	c := status.Code(err)
	return c == codes.Unavailable || c == codes.Canceled || errors.Is(err, context.Canceled)
}

// gone reports SESSION_GONE.
func gone(err error) bool { return reasonOf(err) == "SESSION_GONE" }

// reasonOf is the reason that a node gave; "": none did.
func reasonOf(err error) string {
	st, ok := status.FromError(err)
	if !ok {
		return ""
	}
	for _, detail := range st.Details() {
		if e, ok := detail.(*errdetails.ErrorInfo); ok {
			return e.GetReason()
		}
	}
	return ""
}
