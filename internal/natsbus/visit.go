package natsbus

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	systemAccount = "$SYS" // of the engines themselves
	systemUser    = "system"

	// engineAnswers is how long running engines may take to say that they are there.
	engineAnswers = 2 * time.Second
)

// Engine is one server of a cluster of peers.
type Engine struct {
	Name    string
	ID      string        // what the others know it by
	Running bool          // it answered
	Leader  bool          // of all, not of a stream
	Silent  time.Duration // the leader has not heard it for so long; 0: not since it leads
}

// visitorOptions are those of a server without a store. Routes begin only beside
// listeners, which are on loopback, at ports of the system's choice.
func (b *Bus) visitorOptions() (*server.Options, error) {
	o := &server.Options{
		NoSigs: true, MaxPayload: MaxPayload, MaxPending: maxPending, NoFastProducerStall: true,
		DisableJetStreamBanner: true,
	}
	if err := b.peerOptions(o); err != nil {
		return nil, err
	}
	o.StoreDir = ""
	o.Cluster.Host, o.Cluster.Port = "127.0.0.1", -1
	system := server.NewAccount(systemAccount)
	o.Accounts, o.SystemAccount = []*server.Account{system}, systemAccount
	o.Users = []*server.User{{Username: o.Username, Password: o.Password}, {Username: systemUser, Password: o.Password, Account: system}}
	o.Username, o.Password = "", ""
	return o, nil
}

// connectEngines makes the connection that the engines themselves are asked
// over; mu is held.
func (b *Bus) connectEngines(context.Context) (err error) {
	if b.sys, err = nats.Connect("", nats.InProcessServer(b.srv), nats.UserInfo(systemUser, b.password), nats.Name("porchlight engines")); err != nil {
		return fmt.Errorf("natsbus: cannot connect to the embedded server: %w", err)
	}
	return nil
}

// ErrNoLeader means that the servers of a cluster have no majority to decide.
var ErrNoLeader = errors.New("natsbus: the nodes' engines have no leader: a majority of them must run and hear each other")

// Engines are the servers of the cluster that this visitor is at, by name.
func (b *Bus) Engines(ctx context.Context) ([]Engine, error) {
	running, err := b.running(ctx)
	if err != nil {
		return nil, err
	}
	ask, cancel := context.WithTimeout(ctx, engineAnswers)
	defer cancel()
	m, err := b.sys.RequestWithContext(ask, "$SYS.REQ.SERVER.PING.JSZ", []byte(`{"leader_only":true}`))
	if err != nil {
		return nil, cmp.Or(ctx.Err(), ErrNoLeader)
	}
	var told struct {
		Data struct {
			Meta *server.MetaClusterInfo `json:"meta_cluster"`
		} `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &told); err != nil || told.Data.Meta == nil {
		return nil, ErrNoLeader
	}
	meta := told.Data.Meta
	all := []Engine{{Name: meta.Leader, ID: meta.Peer, Running: true, Leader: true}}
	for _, r := range meta.Replicas {
		all = append(all, Engine{Name: r.Name, ID: r.Peer, Running: running[r.Name], Silent: r.Active})
	}
	slices.SortFunc(all, func(x, y Engine) int { return strings.Compare(x.Name, y.Name) })
	return all, nil
}

// running are the names of the servers that answer now.
func (b *Bus) running(ctx context.Context) (map[string]bool, error) {
	inbox := b.sys.NewRespInbox()
	sub, err := b.sys.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("natsbus: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.sys.PublishRequest("$SYS.REQ.SERVER.PING", inbox, nil); err != nil {
		return nil, fmt.Errorf("natsbus: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, engineAnswers)
	defer cancel()
	names := map[string]bool{}
	for {
		m, err := sub.NextMsgWithContext(wait)
		if err != nil {
			return names, ctx.Err() // all who answer have
		}
		var told struct {
			Server struct {
				Name string `json:"name"`
			} `json:"server"`
		}
		if json.Unmarshal(m.Data, &told) == nil {
			names[told.Server.Name] = true
		}
	}
}

// RemoveEngine takes a server out of the cluster for good: the others do not count
// it any more, and make a copy elsewhere of each stream that it had. It does not
// ask whether that is wise. It returns when a majority has agreed.
func (b *Bus) RemoveEngine(ctx context.Context, id string) error {
	text, err := json.Marshal(server.JSApiMetaServerRemoveRequest{Peer: id})
	if err != nil {
		return err
	}
	m, err := b.sys.RequestWithContext(ctx, server.JSApiRemoveServer, text)
	if err != nil {
		return fmt.Errorf("natsbus: whether it is removed is not known (ask again): %w", err)
	}
	var answer server.JSApiMetaServerRemoveResponse
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("natsbus: %w", err)
	}
	if answer.Error != nil {
		return fmt.Errorf("natsbus: the engines refuse: %s", answer.Error.Description)
	}
	return nil
}

// EngineID is what the servers of a cluster know the one of that name by, also
// after they forgot its name.
func EngineID(name string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(name))
	id := make([]byte, 8)
	for i := range id {
		id[i] = digits[int(sum[i])%len(digits)]
	}
	return string(id)
}

// VisitorName is a name for a visitor, another each time.
func VisitorName() string { return "visitor-" + strings.ToLower(rand.Text()[:8]) }
