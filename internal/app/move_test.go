package app_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/app"
)

// livesThrough checks that a live session's statuses reach a watcher. A node that
// stood still for a moment may ask for another try.
func livesThrough(t *testing.T, when string, who speaker, token string, seen *line, n int) {
	t.Helper()
	text := fmt.Sprintf("%s %d", when, n)
	say := func(u *isonlinev1.IsOnlineUpdate) {
		t.Helper()
		happens(t, text+": a status", func() bool {
			_, err := who.UpdateIsOnlineSession(who.ctx, &isonlinev1.UpdateIsOnlineSessionRequest{SessionToken: token, Update: u})
			if err != nil && status.Code(err) != codes.Unavailable {
				t.Fatalf("%s: a status: %v", text, err)
			}
			return err == nil
		})
	}
	say(busy())
	_, before := seen.last("bob")
	say(&isonlinev1.IsOnlineUpdate{Status: isonlinev1.IsOnlineStatus_IS_ONLINE_STATUS_AWAY})
	happens(t, text+": the watcher is told", func() bool { _, now := seen.last("bob"); return now > before })
}

// watching is bob at one node and a watcher of his at another.
func watching(t *testing.T, at, watcher *app.App) (bob speaker, token string, seen *line) {
	t.Helper()
	bob = speak(t, at, "bob")
	token = bob.make()
	bob.connect(token)
	alice := speak(t, watcher, "alice")
	mine := alice.make()
	if _, err := alice.SubscribeToUserIsOnline(alice.ctx, &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: mine, UserId: "bob"}); err != nil {
		t.Fatal(err)
	}
	return bob, token, alice.connect(mine)
}

// stored is what the REST API says of what was stored, by path.
func stored(t *testing.T, a *app.App) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, path := range []string{"bob/friends", "bob/blocks", "bob/attributes", "bob/history", "alice/history"} {
		all[path] = rest(t, a, "GET", "/api/v1/users/"+path, "")
	}
	return all
}

// export writes what is in a storage to a file.
func export(t *testing.T, from app.Storage) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "node.export")
	if err := app.ExportData(t.Context(), from, file, nil); err != nil {
		t.Fatal(err)
	}
	return file
}

// imported makes data directories of three nodes of an export.
func imported(t *testing.T, file string) (dirs []string) {
	t.Helper()
	root := t.TempDir()
	for i := range 3 {
		dirs = append(dirs, filepath.Join(root, fmt.Sprintf("n%d", i+1)))
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := app.ImportData(t.Context(), app.Storage{Members: dirs}, f, nil); err != nil {
		t.Fatal(err)
	}
	return dirs
}

// TestMovesIntoPeers moves a single node's data into a cluster that three nodes
// form, and its users notice a restart at most: sessions, watches and statuses are
// there, and everything that was stored.
func TestMovesIntoPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped in short mode: runs several nodes")
	}
	dir := filepath.Join(t.TempDir(), "alone")
	alone, err := app.New(params(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := alone.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	bob, his, seen := watching(t, alone, alone)
	alice := speak(t, alone, "alice")
	hers := alice.make()
	if _, err := alice.SubscribeToUserIsOnline(alice.ctx, &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: hers, UserId: "bob"}); err != nil {
		t.Fatal(err)
	}
	alice.connect(hers)
	if _, err := bob.UpdateIsOnlineSession(bob.ctx, &isonlinev1.UpdateIsOnlineSessionRequest{SessionToken: his, Update: busy()}); err != nil {
		t.Fatal(err)
	}
	happens(t, "alice sees bob busy", func() bool { says, _ := seen.last("bob"); return strings.HasSuffix(says, "BUSY") })
	rest(t, alone, "PUT", "/api/v1/users/bob/friends", `{"friends":["alice","carol"]}`)
	rest(t, alone, "PUT", "/api/v1/users/bob/attributes", `{"attributes":[{"name":"city","value":"Oslo"}]}`)
	rest(t, alone, "PUT", "/api/v1/users/bob/blocks/mallory", "")
	notify(t, alone, "carol", "one")
	notify(t, alone, "carol", "two")
	before := stored(t, alone)
	stop(t, alone)

	dirs := imported(t, export(t, app.Storage{Data: dir}))
	// Devices come back when all three have started, which takes a busy machine a while.
	patiently := func(p *app.Params) { p.Config.RestartGrace = 10 * time.Minute }
	nodes := clusterIn(t, dirs, patiently)
	for i, a := range nodes {
		asker := speak(t, a, "dave")
		happens(t, fmt.Sprintf("node %d shows bob as he was", i+1), func() bool { return asker.sees("bob") == "IS_ONLINE_STATUS_BUSY" })
		if diff := cmp.Diff(before, stored(t, a)); diff != "" {
			t.Errorf("what is stored, at node %d (-before +after):\n%s", i+1, diff)
		}
	}
	watch := speak(t, nodes[1], "alice").connect(hers)
	bob = speak(t, nodes[2], "bob")
	bob.connect(his)
	happens(t, "alice still watches bob", func() bool { says, _ := watch.last("bob"); return strings.HasSuffix(says, "BUSY") })
	livesThrough(t, "after the move", bob, his, watch, 0)
	if says, _ := watch.last("bob"); strings.Contains(says, "CLOSED") {
		t.Errorf("alice was told %s, want bob there all the time", says)
	}
	carol := receive(t, nodes[1], "carol")
	happens(t, "carol is told what waited for her", func() bool { return slices.Equal(carol.read(), []string{"one", "two"}) })

	// A backup of a majority's directories is a whole one.
	before = stored(t, nodes[0])
	var stopping sync.WaitGroup
	for _, a := range nodes {
		stopping.Go(func() { // the last has no majority any more: it may say so
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), brief)
			defer cancel()
			t.Log("stopped:", a.Stop(ctx))
		})
	}
	stopping.Wait()
	if err := app.ExportData(t.Context(), app.Storage{Data: dirs[0]}, filepath.Join(t.TempDir(), "x"), nil); err == nil || !strings.Contains(err.Error(), "a majority") {
		t.Errorf("an export of one of three: got %v, want a refusal", err)
	}
	again := clusterIn(t, imported(t, export(t, app.Storage{Members: dirs[1:]})), patiently)
	for i, a := range again {
		after := stored(t, a)
		delete(before, "alice/history") // she left meanwhile
		delete(after, "alice/history")
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("of the backup, at node %d (-before +after):\n%s", i+1, diff)
		}
	}
}

// TestImportRefusesDirectories: what cannot be data directories of a cluster
// changes nothing.
func TestImportRefusesDirectories(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	in := func(names ...string) (dirs []string) {
		for _, n := range names {
			dirs = append(dirs, filepath.Join(root, n))
		}
		return dirs
	}
	if err := os.Mkdir(filepath.Join(root, "there"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		dirs []string
		says string
	}{
		"two":        {in("n1", "n2"), "3 nodes or more"},
		"twice":      {in("n1", "n2", "n1"), "another for each"},
		"no name":    {in("n1", "n2", "N 3"), "the node's name"},
		"there":      {in("n1", "n2", "there"), "is there already"},
		"not a file": {in("n1", "n2", "n3"), "not a whole export"},
	} {
		err := app.ImportData(t.Context(), app.Storage{Members: c.dirs}, strings.NewReader("no export"), nil)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.says)
		}
		if list, _ := os.ReadDir(root); len(list) != 1 {
			t.Errorf("%s: %d directories are left, want the one that was there", name, len(list))
		}
	}
}
