package natsstore

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// openStreams makes the streams that are missing and brings the others'
// settings up to date.
func (s *Store) openStreams(ctx context.Context) (err error) {
	maxBytes, err := s.logLimit(ctx)
	if err != nil {
		return err
	}
	s.maxLog = maxBytes
	if s.logs, err = s.openLog(ctx); err != nil {
		return err
	}
	if !s.clustered {
		return s.openOthers(ctx)
	}
	if err := s.openAtOnce(ctx, s.openOthers, s.openSeveral); err != nil {
		return err
	}
	return s.checkSeveral(ctx)
}

// openOthers opens what stands beside the log.
func (s *Store) openOthers(ctx context.Context) (err error) {
	subjects := []string{shardSubject + "*", partSubject + "*.*.*", markSubject, counterSubject + "*"}
	if s.clustered {
		subjects = append(subjects, leaseSubject+"*")
	}
	if s.ckpt, err = s.openStream(ctx, jetstream.StreamConfig{
		Name:              checkpointStream,
		Subjects:          subjects,
		MaxMsgsPerSubject: 1,
	}); err != nil {
		return err
	}
	if s.notes, err = s.openStream(ctx, jetstream.StreamConfig{
		Name:     noteStream,
		Subjects: []string{noteSubject},
	}); err != nil {
		return err
	}
	if s.rosters, err = s.openStream(ctx, jetstream.StreamConfig{
		Name:              rosterStream,
		Subjects:          []string{rosterSubject + "*.*.*"},
		MaxMsgsPerSubject: 1,
	}); err != nil {
		return err
	}
	if s.names, err = s.openStream(ctx, jetstream.StreamConfig{
		Name:              nameStream,
		Subjects:          []string{nameSubject + "*.*"},
		MaxMsgsPerSubject: 1,
	}); err != nil {
		return err
	}
	return s.openReaderStreams(ctx)
}

// openReaderStreams opens what readers of the log need.
func (s *Store) openReaderStreams(ctx context.Context) (err error) {
	if s.erased, err = s.openStream(ctx, jetstream.StreamConfig{
		Name:     erasedStream,
		Subjects: []string{erasedSubject},
	}); err != nil {
		return err
	}
	if s.base, err = s.openStream(ctx, jetstream.StreamConfig{
		Name:     baseStream,
		Subjects: []string{baseHeadSubject + "*", basePieceSubject + "*.*"},
	}); err != nil {
		return err
	}
	if s.cursors, err = s.openStream(ctx, jetstream.StreamConfig{
		Name:              cursorStream,
		Subjects:          []string{cursorSubject + "*.*"},
		MaxMsgsPerSubject: 1,
	}); err != nil {
		return err
	}
	s.dead, err = s.openStream(ctx, jetstream.StreamConfig{
		Name:     letterStream,
		Subjects: []string{letterSubject + "*.*.*"},
		MaxBytes: min(mostLetters, s.maxLog/letterShare),
		Discard:  jetstream.DiscardOld,
	})
	if err != nil {
		return err
	}
	return s.openMail(ctx)
}

// openLog opens the log. Whether a cluster has room for as much as it may
// become, only trying tells; less is better than nothing.
func (s *Store) openLog(ctx context.Context) (jetstream.Stream, error) {
	for {
		stream, err := s.openStream(ctx, jetstream.StreamConfig{
			Name:       logStream,
			Subjects:   []string{logSubject},
			MaxBytes:   s.maxLog,
			Discard:    jetstream.DiscardNew, // never forget what no checkpoint holds
			Duplicates: duplicateWindow,
		})
		if s.cfg.Bus.Dir() != "" || s.cfg.MaxBytes > 0 || s.maxLog/2 < temporaryLog || !noRoom(err) {
			return stream, err
		}
		s.maxLog /= 2
	}
}

func (s *Store) openStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	cfg.Storage = jetstream.FileStorage
	cfg.AllowDirect = !s.clustered // else any replica would answer, with what it has
	cfg.Replicas = s.cfg.Bus.Replicas()
	name := cfg.Name
	cfg.Name = s.streamName(cfg.Name)
	for i, subject := range cfg.Subjects {
		cfg.Subjects[i] = s.subject(subject)
	}
	if s.planning {
		s.planned = append(s.planned, cfg)
		return nil, nil
	}
	opened, err := s.created[cfg.Name], error(nil)
	if opened == nil {
		opened, err = s.create(ctx, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("natsstore: cannot open stream %s in %s (%s): %w", cfg.Name, s.place(), s.whyNot(err, cfg.MaxBytes), err)
	}
	if !s.clustered && s.prefix == "pl" {
		return opened, nil
	}
	st := &stream{opened, s}
	if s.clustered {
		s.streams = append(s.streams, namedStream{name, st})
	}
	return st, nil
}

// create makes a stream, or brings its settings up to date.
func (s *Store) create(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	for first := true; ; first = false {
		opened, err := again(ctx, s, func(ctx context.Context, _ bool) (jetstream.Stream, error) {
			return s.js.CreateOrUpdateStream(ctx, cfg)
		})
		if err == nil || !s.awaitsPeers(err) && !s.awaitsLeader(err) || ctx.Err() != nil {
			return opened, err
		}
		if first && cfg.Name == s.streamName(logStream) {
			waits := "waiting for as many nodes as keep the data, which the first start of a cluster needs"
			if s.awaitsLeader(err) {
				waits = "waiting for a majority of the nodes that keep the data"
			}
			s.cfg.Logger.Info(waits, "nodes", cfg.Replicas)
		}
		pause(ctx, tryPause)
	}
}

// checkEnds refuses a directory whose log ends before its checkpoint: new
// records would get positions that the checkpoint takes for known.
func (s *Store) checkEnds(ctx context.Context) error {
	m, err := s.loadMark(ctx)
	if err != nil {
		return err
	}
	info, err := s.logs.Info(ctx)
	if err != nil {
		return fmt.Errorf("natsstore: cannot read the log's ends: %w", err)
	}
	if m.through > info.State.LastSeq {
		return fmt.Errorf("natsstore: the log in %s ends at %d, before its checkpoint at %d: the directory is damaged or was restored in part; "+
			"restore all of it from one backup, or start on an empty directory", s.place(), info.State.LastSeq, m.through)
	}
	s.through, s.opened, s.scanned = m.through, m.through, m.through
	return nil
}
