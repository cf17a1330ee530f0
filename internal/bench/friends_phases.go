package bench

import (
	"context"
	"fmt"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// list is the i-th friend list of a size: half of it, but never more than
// there are, is online.
func (f *friends) list(i, size int) []string {
	ids := make([]string, 0, size)
	for j := range min(size/2, onlineUsers) {
		ids = append(ids, f.online[(i*37+j)%onlineUsers])
	}
	for j := len(ids); j < size; j++ {
		ids = append(ids, fmt.Sprintf("bench-offline-%d-%d", i, j))
	}
	return ids
}

// sampled measures count calls, one after the other.
func (f *friends) sampled(count int, row FriendsRow, call func(i int) (time.Duration, error)) error {
	cpu, _ := f.cpu()
	hist := &histogram{}
	f.bar.begin(row.Phase, int64(count))
	for i := range count {
		took, err := call(i)
		if err != nil {
			return err
		}
		hist.add(took)
		f.bar.at(int64(i))
	}
	f.bar.end()
	if after, ok := f.cpu(); ok {
		row.CPU = round(float64(after-cpu) / float64(time.Millisecond) / float64(count))
	}
	ms := func(q float64) float64 { return round(float64(hist.quantile(q)) / float64(time.Millisecond)) }
	row.Door, row.Count, row.P50, row.P99 = DoorGRPC, count, ms(0.5), ms(0.99)
	f.cfg.Report(row)
	return nil
}

// cpu is the server's CPU time; false when it is not ours to see.
func (f *friends) cpu() (time.Duration, bool) {
	if f.proc == 0 {
		return 0, false
	}
	used, err := f.proc.cpu()
	return used, err == nil
}

// subscribe measures subscribing to lists of one size.
func (f *friends) subscribe(ctx context.Context, size int) error {
	count := min(max(subscribedEntries/size, fewSessions), manySessions)
	devices := make([]*friendDevice, count)
	f.bar.begin(fmt.Sprintf("sessions with %d friends", size), int64(count))
	for i := range devices {
		user := fmt.Sprintf("bench-watcher-%d-%d", size, i)
		f.listed = append(f.listed, user)
		if err := f.backend.replace(ctx, user, f.list(i, size)); err != nil {
			return err
		}
		d, err := f.device(ctx, user)
		if err != nil {
			return err
		}
		devices[i] = d
		f.bar.at(int64(i))
	}
	return f.sampled(count, FriendsRow{Phase: PhaseFriends, Friends: size}, func(i int) (time.Duration, error) {
		began := time.Now()
		if err := devices[i].subscribeFriends(ctx); err != nil {
			return 0, err
		}
		return time.Since(began), nil
	})
}

// change measures a changed list, in turn by a friend more and one less.
func (f *friends) change(ctx context.Context) error {
	const user = "bench-watcher-change"
	f.listed = append(f.listed, user)
	if err := f.backend.replace(ctx, user, f.list(0, changedList)); err != nil {
		return err
	}
	d, err := f.device(ctx, user)
	if err != nil {
		return err
	}
	if err := d.subscribeFriends(ctx); err != nil {
		return err
	}
	return f.sampled(listChanges, FriendsRow{Phase: PhaseListChange, Friends: changedList}, func(i int) (time.Duration, error) {
		friend := f.online[onlineUsers-1-i/2]
		added := i%2 == 0
		began := time.Now()
		told := make(chan error, 1)
		go func() { // beside the request: who is told before it is answered counts
			told <- d.until(ctx, func(e *isonlinev1.ConnectToIsOnlineSessionResponse) bool {
				if added {
					return e.GetNotification().GetUserId() == friend
				}
				return e.GetSubscriptionEnded().GetUserId() == friend
			})
		}()
		if err := f.backend.befriend(ctx, user, friend, added); err != nil {
			return 0, err
		}
		err := <-told
		return time.Since(began), err
	})
}

// query measures BatchGet.
func (f *friends) query(ctx context.Context) error {
	d, err := f.device(ctx, "bench-asker")
	if err != nil {
		return err
	}
	ids := f.list(1, batchUsers)
	return f.sampled(batchQueries, FriendsRow{Phase: PhaseBatchQuery, Users: batchUsers}, func(int) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(ctx, answerLimit)
		defer cancel()
		began := time.Now()
		answer, err := d.service.BatchGetUserIsOnline(d.as(ctx), &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: ids})
		if err == nil && len(answer.GetUsers()) != len(ids) {
			err = fmt.Errorf("%d users came back, %d were asked for", len(answer.GetUsers()), len(ids))
		}
		return time.Since(began), err
	})
}
