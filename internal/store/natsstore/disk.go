package natsstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	watchEvery = 10 * time.Second

	// The alarm begins at one share of the disk in use and ends below the
	// other, so that it does not flap. An engine that finds the disk full
	// switches itself off, hence the distance.
	alarmAt    = 0.95
	alarmUntil = 0.93

	// shortenEvery is the pause between two halvings of history while the alarm
	// lasts: somebody else may be filling the disk, and history cannot win
	// against that.
	shortenEvery = 5 * time.Minute

	// reserve is the room never written to, or a fiftieth of a smaller disk: an
	// engine that meets a full disk takes nothing more until a restart, even
	// when there is room again.
	reserve = 64 << 20
)

// disk is what the last look at it said.
type disk struct {
	room  int64 // bytes that may be written before the next look
	alarm error // it is nearly full
}

// watchDisk looks at the disk until ctx ends.
func (s *Store) watchDisk(ctx context.Context) {
	defer close(s.idle)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var shortened, expired time.Time
	for {
		if time.Since(expired) >= expireEvery {
			expired = time.Now()
			s.expireLetters(ctx, store.MaxLetterAge)
		}
		if s.lookAtDisk() && time.Since(shortened) >= shortenEvery {
			shortened = time.Now()
			s.shorten(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lookAtDisk measures the disk and reports whether the alarm stands. On a
// system that cannot measure there is no alarm.
func (s *Store) lookAtDisk() (alarm bool) {
	u, err := s.cfg.Usage(s.cfg.Bus.Dir())
	if err == nil {
		return s.judge(u)
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		s.cfg.Logger.Warn("cannot see how full the disk is", "directory", s.cfg.Bus.Dir(), "error", err)
	}
	return false
}

// spend takes bytes from the room on the disk, or refuses when only the
// reserve is left. What others write is seen at the next look.
func (s *Store) spend(bytes int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disk.room < int64(bytes) {
		return fmt.Errorf("%w: the disk of %s is full", store.ErrRefused, s.cfg.Bus.Dir())
	}
	s.disk.room -= int64(bytes)
	return nil
}

// judge raises or ends the alarm, and reports whether it stands.
func (s *Store) judge(u Usage) bool {
	s.mu.Lock()
	was := s.disk.alarm != nil
	now := u.Share() >= alarmAt || was && u.Share() >= alarmUntil
	s.disk.room = int64(u.Free) - int64(min(reserve, (u.Used+u.Free)/50))
	s.disk.alarm = nil
	if now {
		s.disk.alarm = fmt.Errorf("%w: the disk of %s is %.1f %% full (%d MB free)", store.ErrAlarm, s.cfg.Bus.Dir(), 100*u.Share(), u.Free>>20)
	}
	alarm := s.disk.alarm
	s.mu.Unlock()
	switch {
	case now && !was:
		s.cfg.Logger.Error("disk nearly full: make room or move the data directory; history is cut by half, and before the disk is full no more sessions can open", "error", alarm)
	case was && !now:
		s.cfg.Logger.Info("disk has room again", "free_mb", u.Free>>20)
	}
	return now
}
