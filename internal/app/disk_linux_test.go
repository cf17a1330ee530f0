package app_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
)

// smallDisk is a file system of its own, for the data of one node.
type smallDisk struct {
	t   *testing.T
	dir string
}

func newSmallDisk(t *testing.T) smallDisk {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped in short mode: waits for looks at the disk")
	}
	d := smallDisk{t, t.TempDir()}
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("a small file system needs root and its rights: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(d.dir, unix.MNT_DETACH) })
	return d
}

func (d smallDisk) data() string { return filepath.Join(d.dir, "data") }

// real lets a node whose data is on the disk ask the system.
func (d smallDisk) real(p *app.Params) {
	if p.Config.Data == d.data() {
		p.Usage = nil
	}
}

func (d smallDisk) ballast() string { return filepath.Join(d.dir, "ballast") }

// leave fills the disk but for so many bytes.
func (d smallDisk) leave(free uint64) {
	d.t.Helper()
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for {
		var st unix.Statfs_t
		if err := unix.Statfs(d.dir, &st); err != nil {
			d.t.Fatal(err)
		}
		have := st.Bavail * uint64(st.Bsize)
		if have <= free {
			return
		}
		if _, err := f.Write(make([]byte, min(have-free, 1<<20))); err != nil && free > 0 {
			d.t.Fatal(err)
		} else if err != nil {
			return
		}
	}
}

// empty gives the room back.
func (d smallDisk) empty() {
	if err := os.Remove(d.ballast()); err != nil {
		d.t.Error(err)
	}
}

// opening is what opening a session of somebody new says.
func opening(t *testing.T, a *app.App) codes.Code {
	t.Helper()
	s := speak(t, a, presence.UserID(fmt.Sprintf("carol%d", rand.Uint64())))
	made, err := s.MakeIsOnlineSession(s.ctx, &isonlinev1.MakeIsOnlineSessionRequest{})
	if err == nil {
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		var stream isonlinev1.IsOnlineService_ConnectToIsOnlineSessionClient
		stream, err = s.ConnectToIsOnlineSession(ctx, &isonlinev1.ConnectToIsOnlineSessionRequest{SessionToken: made.GetSessionToken()})
		if err == nil {
			_, err = stream.Recv()
		}
	}
	return status.Code(err)
}

// opens waits until openings say something else, and returns that.
func opens(t *testing.T, a *app.App, no codes.Code) (code codes.Code) {
	t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		if code = opening(t, a); code != no {
			return code
		}
		<-time.After(250 * time.Millisecond)
	}
	t.Fatalf("openings say %v for %v", code, patience)
	return code
}

// opensAt waits until a node opens a session: leaders may have to be elected.
func opensAt(t *testing.T, a *app.App) {
	t.Helper()
	code := opening(t, a)
	if code == codes.Unavailable {
		code = opens(t, a, codes.Unavailable)
	}
	if code != codes.OK {
		t.Errorf("an opening at another node: got %v", code)
	}
}

func readyz(t *testing.T, a *app.App) string {
	t.Helper()
	resp, err := bounded().Get("http://" + a.HTTPAddr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(b))
}

// TestDiskRunsFull: a node whose disk is full opens nothing and says so; who is
// there stays, and with room again everything goes on by itself.
func TestDiskRunsFull(t *testing.T) {
	d := newSmallDisk(t)
	p := params(t, d.data())
	d.real(&p)
	a := running(t, p)
	runsFull(t, d, a, a)
}

// TestExportFromAFullDisk: what is exported is all there is, and stays where it was,
// though a node that started there would cut its history.
func TestExportFromAFullDisk(t *testing.T) {
	d := newSmallDisk(t)
	a := running(t, params(t, d.data()))
	for range 10 {
		if code := opening(t, a); code != codes.OK {
			t.Fatalf("an opening: got %v", code)
		}
	}
	stop(t, a)
	before := messages(t, d.data())
	d.leave(2 << 20)
	if err := app.ExportData(t.Context(), app.Storage{Data: d.data()}, filepath.Join(t.TempDir(), "export"), nil); err != nil {
		t.Errorf("ExportData: %v", err)
	}
	if after := messages(t, d.data()); before < 10 || after != before {
		t.Errorf("the log has %d messages after the export, %d before", after, before)
	}
	d.empty()
	if code := opening(t, running(t, params(t, d.data()))); code != codes.OK {
		t.Errorf("an opening after the export: got %v", code)
	}
}

// messages counts those of the log in a data directory.
func messages(t *testing.T, data string) (count int) {
	t.Helper()
	bus, err := natsbus.New(natsbus.Config{Dir: data})
	if err == nil {
		err = bus.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Stop(context.Background())
	s, err := natsstore.Open(t.Context(), natsstore.Config{Bus: bus, Usage: natsstore.Room(1 << 40)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(context.Background())
	_, err = s.Replay(t.Context(), 0, func(uint64, []presence.Record) error { count++; return nil })
	if err != nil {
		t.Error(err)
	}
	return count
}

// TestDiskOfOneOfThreeRunsFull: the same of one of three nodes, beside which the
// others open. Then its disk is filled to the last byte by somebody else.
func TestDiskOfOneOfThreeRunsFull(t *testing.T) {
	d := newSmallDisk(t)
	nodes := clusterIn(t, []string{d.data(), t.TempDir(), t.TempDir()}, d.real)
	runsFull(t, d, nodes[0], nodes[1])

	bob, token, seen := watching(t, nodes[0], nodes[1])
	d.leave(0)
	for i := range 5 {
		opensAt(t, nodes[1])
		livesThrough(t, "to the last byte", bob, token, seen, i)
	}
	d.empty()
	for _, a := range nodes { // the engine of the first is off, so the next takes the quorum along
		t.Cleanup(func() { abandon(t, a) })
	}
}

func runsFull(t *testing.T, d smallDisk, full, other *app.App) {
	t.Helper()
	bob, token, seen := watching(t, full, other)
	d.leave(1 << 20)
	if refused := opens(t, full, codes.OK); refused != codes.Unavailable {
		t.Errorf("an opening on a full disk: got %v, want Unavailable", refused)
	}
	happens(t, "/readyz tells of the disk", func() bool { return strings.Contains(readyz(t, full), "full") })
	if other != full {
		opensAt(t, other)
	}
	for i := range 5 {
		livesThrough(t, "on a full disk", bob, token, seen, i)
	}
	d.empty()
	if code := opens(t, full, codes.Unavailable); code != codes.OK {
		t.Errorf("an opening with room again: got %v", code)
	}
	happens(t, "the alarm ends", func() bool {
		return strings.HasPrefix(readyz(t, full), "200 ") && !strings.Contains(readyz(t, full), "full")
	})
}
