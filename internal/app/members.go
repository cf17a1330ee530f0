package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

const (
	// membersLimit bounds the wait until engines on data directories have a
	// majority, and until all of them have what was imported.
	membersLimit = 2 * time.Minute
	membersLook  = 200 * time.Millisecond

	leastMembers = 3
)

// pack puts what a single node keeps elsewhere, or in a form of its own, where
// several nodes look for it: the keys of session tokens, and what was noted of
// sessions. Without it every device would have to sign in anew after a move. The
// node goes on with its directory as before.
func pack(ctx context.Context, bus *natsbus.Bus, data string) error {
	// A full disk must not cut the history that is about to be exported.
	s, err := natsstore.Open(ctx, natsstore.Config{Bus: bus, Usage: natsstore.Room(1 << 40)})
	if err != nil {
		return err
	}
	defer func() { _ = s.Stop(context.WithoutCancel(ctx)) }()
	if err := tracker.Divide(ctx, s, s); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(data, ringName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // they are in a file of the operator's
	}
	if err == nil {
		_, err = token.ParseRing(text)
	}
	if err != nil {
		return fmt.Errorf("session keys: %w", err)
	}
	v, err := s.LoadName(ctx, store.NameKeys, sharedKeys)
	if err == nil {
		v.Name, v.Value = sharedKeys, text
		_, err = s.SaveName(ctx, store.NameKeys, v)
	}
	if err != nil {
		return fmt.Errorf("session keys: %w", err)
	}
	return nil
}

// startMembers runs the engines of data directories, on loopback, and returns one
// of them when a majority of the cluster is there.
func startMembers(ctx context.Context, dirs []string, log *slog.Logger) (bus *natsbus.Bus, stop func(), err error) {
	addrs, err := listen.Free(max(len(dirs), leastMembers)) // who is missing is at one where nobody listens
	if err != nil {
		return nil, nil, err
	}
	password := natsbus.Secret(rand.Text())
	buses := make([]*natsbus.Bus, len(dirs))
	for i, dir := range dirs {
		name, err := natsbus.Member(dir)
		if err != nil {
			return nil, nil, err
		}
		buses[i], err = natsbus.New(natsbus.Config{Dir: dir, Logger: log, Peers: &natsbus.Peers{Name: name, Listen: addrs[i], Peers: addrs, Password: password}})
		if err != nil {
			return nil, nil, err
		}
	}
	stop = func() {
		var stopping sync.WaitGroup
		for _, b := range buses {
			stopping.Go(func() { _ = b.Stop(context.WithoutCancel(ctx)) })
		}
		stopping.Wait()
	}
	waiting, cancel := context.WithTimeout(ctx, membersLimit)
	defer cancel()
	errs := make([]error, len(buses))
	var starting sync.WaitGroup
	for i, b := range buses {
		starting.Go(func() {
			if errs[i] = b.Start(waiting); errs[i] != nil {
				cancel()
			}
		})
	}
	starting.Wait()
	if err := whyNot(errs); err != nil {
		stop()
		return nil, nil, fmt.Errorf("%w (of a cluster that its nodes form, a majority of the data directories is needed)", err)
	}
	if err := streams(ctx, buses[0], func(s *natsstore.StreamStatus) bool { return s.Unavailable == "" && s.Leader != "" }); err != nil {
		stop()
		return nil, nil, fmt.Errorf("the engines of the data directories: %w", err)
	}
	return buses[0], stop, nil
}

// whyNot joins errors, without those of who only broke off because of another.
func whyNot(errs []error) error {
	var whys []error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			whys = append(whys, err)
		}
	}
	if len(whys) == 0 {
		whys = errs
	}
	return errors.Join(whys...)
}

// found makes the data directories of a cluster that its nodes form, with an
// export in them.
func found(ctx context.Context, to Storage, file io.ReadSeeker, told func(Transfer)) (err error) {
	names := map[string]bool{}
	for _, dir := range to.Members {
		name := filepath.Base(dir)
		if !config.ValidNodeName(name) || names[name] {
			return fmt.Errorf("data directory %s: its last element is to be the node's name, 1 to 32 of a-z, 0-9 and -, another for each", dir)
		}
		names[name] = true
	}
	if len(names) < leastMembers {
		return fmt.Errorf("%d data directories: a cluster that its nodes form has %d nodes or more: name one for each", len(names), leastMembers)
	}
	var made []string
	defer func() {
		if err != nil {
			for _, dir := range made {
				os.RemoveAll(dir)
			}
		}
	}()
	for _, dir := range to.Members {
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already: name new directories", dir)
		} else if err != nil {
			return err
		}
		made = append(made, dir)
		if err := natsbus.MakeMember(dir, filepath.Base(dir)); err != nil {
			return err
		}
	}
	bus, stop, err := startMembers(ctx, to.Members, to.Logger)
	if err != nil {
		return err
	}
	defer stop()
	if err := natsstore.Import(ctx, bus, file, told); err != nil {
		return err
	}
	// All replicas must have all: each directory goes its own way now.
	return streams(ctx, bus, func(s *natsstore.StreamStatus) bool {
		return s.Unavailable == "" && s.Leader != "" && len(s.Behind) == 0
	})
}

// streams waits until each stream is as it should be; after a start each elects
// its leader.
func streams(ctx context.Context, bus *natsbus.Bus, good func(*natsstore.StreamStatus) bool) error {
	ctx, cancel := context.WithTimeout(ctx, membersLimit)
	defer cancel()
	look := time.NewTicker(membersLook)
	defer look.Stop()
	for {
		all, err := natsstore.Status(ctx, bus)
		if err != nil {
			return fmt.Errorf("the streams do not become ready: %w", err)
		}
		i := slices.IndexFunc(all, func(s natsstore.StreamStatus) bool { return !good(&s) })
		if i < 0 {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("stream %s does not become ready: leader %q, behind %v %s", all[i].Stream, all[i].Leader, all[i].Behind, all[i].Unavailable)
		}
	}
}
