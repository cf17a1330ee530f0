package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// shown is one session in a view.
type shown struct {
	number int
	show   isonlinev1.IsOnlineStatus
}

// person is one user in a view.
type person struct {
	online   bool
	stale    bool // the node says that this may be old, or that it does not know
	lastSeen time.Time
	sessions map[string]shown // by public id
}

// view is what a query shows of some users.
type view map[string]person

func personOf(u *isonlinev1.UserIsOnline) (person, error) {
	p := person{online: u.GetUserFlag() == isonlinev1.UserFlag_USER_FLAG_ONLINE, stale: u.GetStaleSince() != nil || u.GetUnknown(), sessions: map[string]shown{}}
	if u.GetLastSeen() != nil {
		p.lastSeen = u.GetLastSeen().AsTime()
	}
	for _, s := range u.GetSessions() {
		number, err := numberOf(s.GetRichText())
		if err != nil {
			return p, fmt.Errorf("session %s of %s: %w", s.GetSessionId(), u.GetUserId(), err)
		}
		p.sessions[s.GetSessionId()] = shown{number, s.GetStatus()}
	}
	return p, nil
}

// numberOf reads what textOf wrote; no text is number 0.
func numberOf(text string) (number int, err error) {
	if text == "" {
		return 0, nil
	}
	if _, err := fmt.Sscanf(text, "n%d", &number); err != nil || textOf(number) != text {
		return 0, fmt.Errorf("the text %q was never stated", text)
	}
	return number, nil
}

// own asks as the user himself, who sees his hidden sessions too.
func (w *world) own(user string) (person, error) {
	ctx, cancel := context.WithTimeout(w.as(w.ctx, user), callLimit)
	defer cancel()
	answer, err := w.stub.GetUserIsOnline(ctx, &isonlinev1.GetUserIsOnlineRequest{UserId: user})
	if err != nil {
		return person{}, err
	}
	return personOf(answer.GetUser())
}

// strange asks as a stranger for all users at once.
func (w *world) strange(users []string) (view, error) {
	ctx, cancel := context.WithTimeout(w.as(w.ctx, w.asker), callLimit)
	defer cancel()
	answer, err := w.stub.BatchGetUserIsOnline(ctx, &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: users})
	if err != nil {
		return nil, err
	}
	v := view{}
	for _, u := range answer.GetUsers() {
		if v[u.GetUserId()], err = personOf(u); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// owns asks as each of the users, several at a time.
func (w *world) owns(users []string) (view, error) {
	const atOnce = 8
	var all sync.WaitGroup
	var mu sync.Mutex
	v, first := view{}, error(nil)
	work := make(chan string)
	for range atOnce {
		all.Go(func() {
			for u := range work {
				p, err := w.own(u)
				mu.Lock()
				if v[u] = p; err != nil && first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	for _, u := range users {
		work <- u
	}
	close(work)
	all.Wait()
	return v, first
}
