package natsbus

import (
	"net/url"
	"path/filepath"
	"testing"
)

// TestOptionsOfPeers: what engine measurements led to stands in the options of a
// member of a cluster too, and its listener for clients is nobody's.
func TestOptionsOfPeers(t *testing.T) {
	t.Parallel()
	addresses := []string{"10.0.0.1:7422", "10.0.0.2:7422", "10.0.0.3:7422"}
	seen := map[string]bool{}
	for range 2 {
		b, err := New(Config{Dir: "data", Peers: &Peers{Name: "a", Listen: addresses[0], Peers: addresses[1:], Password: "between us"}})
		if err != nil {
			t.Fatal(err)
		}
		o := b.options()
		if err := b.peerOptions(o); err != nil {
			t.Fatal(err)
		}
		if !o.NoFastProducerStall || !o.SyncAlways {
			t.Errorf("got NoFastProducerStall %v, SyncAlways %v, want both: one stuck node must not slow the others, and what is acknowledged is on disk", o.NoFastProducerStall, o.SyncAlways)
		}
		if o.DontListen || o.Host != "127.0.0.1" || o.Port != -1 || len(o.Password) < 20 || seen[o.Password] {
			t.Errorf("clients: got %v, %s:%d, a password of %d bytes, want loopback, any port, another password each time", o.DontListen, o.Host, o.Port, len(o.Password))
		}
		seen[o.Password] = true
		if o.StoreDir != filepath.Join("data", "clustered") {
			t.Errorf("folder: got %s, want clustered", o.StoreDir)
		}
		if o.Cluster.Host != "10.0.0.1" || o.Cluster.Port != 7422 || o.Cluster.Password != "between us" {
			t.Errorf("routes: got %s:%d", o.Cluster.Host, o.Cluster.Port)
		}
		// The engine takes their count for the size of the cluster.
		if len(o.Routes) != len(addresses) {
			t.Errorf("routes: got %v, want all three nodes", hosts(o.Routes))
		}
	}
}

func hosts(urls []*url.URL) (all []string) {
	for _, u := range urls {
		all = append(all, u.Host)
	}
	return all
}

func TestOlder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"2.11.9", "2.12.0", true}, {"2.12.0", "2.12.0", false}, {"2.12.0-RC.1", "2.12.0", false}, {"2.9.25", "2.12.0", true},
		{"3.0.0", "2.12.0", false}, {"2.15.2", "2.12.0", false}, {"", "2.12.0", true},
	} {
		if got := older(c.a, c.b); got != c.want {
			t.Errorf("older(%q, %q): got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}
