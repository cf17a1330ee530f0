package natsstore

import (
	"context"
	"errors"
	"fmt"
	"time"
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
)

// watchDisk looks at the disk until ctx ends.
func (s *Store) watchDisk(ctx context.Context) {
	defer close(s.idle)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var shortened time.Time
	for {
		u, err := s.cfg.Usage(s.cfg.Bus.Dir())
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			return
		case err != nil:
			s.log.Warn("cannot see how full the disk is", "directory", s.cfg.Bus.Dir(), "error", err)
		case s.judge(u) && time.Since(shortened) >= shortenEvery:
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

// judge raises or ends the alarm, and reports whether it stands.
func (s *Store) judge(u Usage) bool {
	s.mu.Lock()
	was := s.alarm != nil
	now := u.Share() >= alarmAt || was && u.Share() >= alarmUntil
	s.alarm = nil
	if now {
		s.alarm = fmt.Errorf("the disk of %s is %.1f %% full (%d MB free)", s.cfg.Bus.Dir(), 100*u.Share(), u.Free>>20)
	}
	alarm := s.alarm
	s.mu.Unlock()
	switch {
	case now && !was:
		s.log.Error("disk nearly full: make room or move the data directory; history is cut by half, and at 100 % nobody can open a session until a restart", "error", alarm)
	case was && !now:
		s.log.Info("disk has room again", "free_mb", u.Free>>20)
	}
	return now
}
