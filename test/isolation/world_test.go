package isolation

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// The two apps, and the users that both have.
var (
	apps  = []string{"red", "blue"}
	users = []string{"alice", "bob", "carol"}
)

// warmUp is when the first step happens, counted from the start of a bubble's
// clock; by then the node is up in every run.
const warmUp = time.Minute

// world is one node with both apps, inside a bubble.
type world struct {
	t       *testing.T
	config  *config.Config
	app     *app.App
	grpc    *bufconn.Listener
	http    *bufconn.Listener
	began   time.Time
	backend *http.Client
	tenants []*tenant
}

// tenant is what one app does and was told.
type tenant struct {
	world   *world
	name    string
	conns   map[string]*grpc.ClientConn // by user and device
	devices map[string]*device          // by user and device

	mu    sync.Mutex // guards all below
	names map[string]string
	told  map[string][]string // what each device and the backend were told
}

// device is one session's token and stream.
type device struct {
	id     string // public
	token  string
	cancel context.CancelFunc
}

func secret(app, of string) config.Secret { return config.Secret(strings.Repeat(app+"-"+of+"-", 8)) }

func configOf(dir string) *config.Config {
	c := &config.Config{Data: dir, LogMaxBytes: 64 << 20, Apps: map[string]config.App{}}
	for _, name := range apps {
		c.Apps[name] = config.App{
			JWT:        config.JWT{Issuer: "https://id." + name, Keys: []config.Key{{ID: "k", Secret: secret(name, "users")}}},
			ServerKeys: []config.ServerKey{{ID: "k", Secret: secret(name, "server")}},
		}
	}
	// One of them lets friends see each other only: whoever reads the other's
	// rules finds out.
	red := c.Apps["red"]
	red.Policy.Visibility = "friends"
	c.Apps["red"] = red
	return c
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, config: configOf(t.TempDir()), began: time.Now()}
	for _, name := range apps {
		w.tenants = append(w.tenants, &tenant{
			world: w, name: name, conns: map[string]*grpc.ClientConn{}, devices: map[string]*device{},
			names: map[string]string{}, told: map[string][]string{},
		})
	}
	w.start()
	return w
}

func (w *world) start() {
	w.grpc, w.http = bufconn.Listen(64<<10), bufconn.Listen(64<<10)
	a, err := app.New(app.Params{Config: w.config, GRPC: w.grpc, HTTP: w.http, Usage: natsstore.Room(1 << 40), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := a.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.app = a
	w.backend = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return w.http.DialContext(ctx) },
	}}
}

func (w *world) stop() {
	if err := w.app.Stop(context.Background()); err != nil {
		w.t.Errorf("stop: %v", err)
	}
	for _, n := range w.tenants {
		for _, d := range n.devices {
			d.cancel()
		}
		for key, c := range n.conns {
			c.Close()
			delete(n.conns, key)
		}
	}
	synctest.Wait()
}

// at lets time pass until a moment after the warm-up, the same in every run.
func (w *world) at(d time.Duration) {
	<-time.After(time.Until(w.began.Add(warmUp + d)))
	synctest.Wait()
}

// hear writes down what was told to one of the app's devices, or its backend.
func (n *tenant) hear(who, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told[who] = append(n.told[who], n.named(fmt.Sprintf(format, args...)))
}

// soFar is what was told until now.
func (n *tenant) soFar() map[string][]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := map[string][]string{}
	for who, list := range n.told {
		m[who] = slices.Clone(list)
	}
	return m
}

// ids finds public session ids, which differ in every run.
var ids = regexp.MustCompile(`"[A-Za-z0-9_-]{22}"`)

// named replaces the session ids that the app knows by names that are the same
// in every run, and others by a mark. The lock is held.
func (n *tenant) named(text string) string {
	return ids.ReplaceAllStringFunc(text, func(id string) string {
		if name := n.names[strings.Trim(id, `"`)]; name != "" {
			return name
		}
		return "(some session)"
	})
}

// service is the connection of one device. A user's second device calls as a web page
// does.
func (n *tenant) service(device string) isonlinev1.IsOnlineServiceClient {
	c := n.conns[device]
	if c == nil {
		listener := n.world.grpc
		var err error
		c, err = grpc.NewClient("passthrough:///"+n.name,
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			n.world.t.Fatal(err)
		}
		n.conns[device] = c
	}
	if strings.HasSuffix(device, "/1") {
		return isonlinev1.NewIsOnlineServiceClient(&web{c, n.world})
	}
	return isonlinev1.NewIsOnlineServiceClient(c)
}

// as is the context of a call by a user.
func (n *tenant) as(user string) context.Context {
	iss, err := n.world.config.Issuer(n.name)
	if err != nil {
		n.world.t.Fatal(err)
	}
	jwt, err := token.Sign(iss, presence.UserID(user), 24*time.Hour, time.Now())
	if err != nil {
		n.world.t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(n.world.t.Context(), "authorization", "Bearer "+jwt)
}
