package script

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/roster"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// offTick is small beside everything that is printed.
const offTick = time.Millisecond

// server is the node of a story, which may be started several times.
type server struct {
	dir      string
	config   *config.Config
	listener *bufconn.Listener
	web      *bufconn.Listener // the HTTP port
	app      *app.App          // nil: down
	copies   int
	source   *source // nil: lists are the server's own
	hook     *hook   // what webhooks tell
}

// configure reads the options of a start.
func (s *story) configure(st *step) {
	s.server.source = nil
	if st.options["friends"] == "foreign" {
		s.server.source = &source{lists: map[presence.UserID][]presence.UserID{}}
	}
	s.server.config = s.configured(st)
}

// configured is the configuration that the options of a step say.
func (s *story) configured(st *step) *config.Config {
	c := config.Development()
	demo := c.Apps["demo"]
	demo.Policy = config.Policy{
		HeartbeatTimeout: st.duration(s.t, "heartbeat_timeout"), Grace: st.duration(s.t, "grace"),
		ResumeWindow: st.duration(s.t, "resume_window"), ConnectBefore: st.duration(s.t, "connect_before"),
		MultiDevice: st.options["multi_device"], Visibility: st.options["visibility"], Platforms: s.platforms(st),
	}
	demo.Limits = config.Limits{
		Sessions: st.number(s.t, "sessions"), OpensPerSecond: float64(st.number(s.t, "opens_per_second")),
		Watches: st.number(s.t, "watches"), Batch: st.number(s.t, "batch"), Friends: st.number(s.t, "most_friends"),
	}
	demo.RongCloud, demo.TencentIM = atRongCloud, atTencent
	demo.Webhooks = webhooks(st)
	c.Apps["demo"] = demo
	c.RestartGrace = st.duration(s.t, "restart_grace")
	c.LogMaxBytes = int64(st.number(s.t, "log_max_bytes"))
	return c
}

// platforms reads options on.NAME=HEARTBEAT_TIMEOUT/GRACE.
func (s *story) platforms(st *step) map[string]config.PlatformPolicy {
	all := map[string]config.PlatformPolicy{}
	for option, times := range st.options {
		name, ok := strings.CutPrefix(option, "on.")
		if !ok {
			continue
		}
		timeout, grace, _ := strings.Cut(times, "/")
		var p config.PlatformPolicy
		var err, e error
		p.HeartbeatTimeout, err = time.ParseDuration(timeout)
		if p.Grace, e = time.ParseDuration(grace); err != nil || e != nil {
			s.t.Fatalf("%s: %s wants two times, such as 35s/6s", st.line, option)
		}
		all[name] = p
	}
	return all
}

// reload puts another configuration in place, or prints why not.
func (s *story) reload(st *step) []string {
	c := s.configured(st)
	c.Data = s.server.config.Data
	if err := s.server.app.Reload(s.t.Context(), c); err != nil {
		return strings.Split("refused: "+err.Error(), "\n")
	}
	s.server.config = c
	synctest.Wait()
	return nil
}

// start starts the node; without options it goes on as it was configured.
func (s *story) start(st *step) {
	if s.server.config == nil || len(st.options) > 0 {
		s.configure(st)
	}
	v := &s.server
	v.config.Data = v.dir
	v.listener = bufconn.Listen(window)
	v.web = bufconn.Listen(window)
	p := app.Params{Config: v.config, GRPC: v.listener, HTTP: v.web, Usage: natsstore.Room(1 << 40), Logger: slog.New(slog.NewTextHandler(s.t.Output(), nil))}
	if v.hook == nil {
		v.hook = &hook{story: s, status: http.StatusOK}
	}
	p.Webhooks = func(outbound.Config) webhook.Sender { return v.hook }
	if v.source != nil {
		p.Friends = map[presence.AppID]roster.Source{"demo": v.source}
	}
	a, err := app.New(p)
	if err != nil {
		s.t.Fatalf("%s: %v", st.line, err)
	}
	if err := a.Start(s.t.Context()); err != nil {
		s.t.Fatalf("%s: %v", st.line, err)
	}
	v.app = a
	// Nothing of the story may fall on a tick of the server's wheel: which of two
	// things at one instant comes first is chance.
	wait(offTick)
	if s.began.IsZero() {
		s.began = time.Now()
	}
}

// stop ends the node as SIGTERM does; devices are told to come back.
func (s *story) stop() {
	if s.server.app == nil {
		return
	}
	if err := s.server.app.Stop(context.Background()); err != nil {
		s.t.Errorf("stop: %v", err)
	}
	s.server.app = nil
	synctest.Wait()
	s.cutAll()
	// It took some milliseconds, by how often net/http looked whether it was idle; that
	// is nobody's to print.
	wait(stopTook - time.Since(s.began)%stopTook)
}

// stopTook is what a stop takes in stories.
const stopTook = 100 * time.Millisecond

// kill ends the node as kill -9 does: every link breaks, and the next start
// finds the files as they were at that moment. What the node writes after it,
// in its quiet end, goes into files that nobody opens again.
func (s *story) kill() {
	synctest.Wait()
	v := &s.server
	v.copies++
	left := v.dir + "-" + strconv.Itoa(v.copies)
	if err := os.CopyFS(left, os.DirFS(v.dir)); err != nil {
		s.t.Fatalf("copy of the data directory: %v", err)
	}
	// The key file must stay private, and CopyFS widens modes by the umask.
	if err := os.Chmod(filepath.Join(left, "session-keys"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	v.dir = left
	s.cutAll()
	if err := v.app.Stop(context.Background()); err != nil {
		s.t.Errorf("end of what was killed: %v", err)
	}
	v.app = nil
}

// cutAll breaks every link; no device hears why.
func (s *story) cutAll() {
	for name := range s.links {
		s.cut(name)
	}
}

// cut breaks a link.
func (s *story) cut(name string) {
	k := s.links[name]
	if k == nil {
		s.t.Fatalf("no link %q to cut", name)
	}
	for _, d := range s.devices {
		if d.open != nil && d.open.link == k {
			d.open.deaf.Store(true)
		}
	}
	delete(s.links, name)
	k.cut()
	synctest.Wait()
}

// link returns the link of that name, made if there is none.
func (s *story) link(name string) *link {
	if k := s.links[name]; k != nil {
		return k
	}
	k, err := newLink(s.server.listener)
	if err != nil {
		s.t.Fatal(err)
	}
	s.links[name] = k
	return k
}

// end takes everything down, so that the bubble can end.
func (s *story) end() {
	s.quiet.Store(true)
	for _, d := range s.devices {
		d.read()
	}
	s.cutAll()
	s.stop()
	synctest.Wait()
}

// wait lets time pass.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
