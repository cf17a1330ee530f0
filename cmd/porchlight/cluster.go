package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/porchlight-dev/porchlight"
)

// clusterCommand has what is done with nodes and the data of clusters.
type clusterCommand struct {
	Members clusterMembers `cmd:"" help:"Show how the nodes are doing, as one of them sees it."`
	Export  clusterExport  `cmd:"" help:"Write all data of a stopped node, or of a cluster, into a file."`
	Import  clusterImport  `cmd:"" help:"Fill an empty cluster with an export."`
	Status  clusterStatus  `cmd:"" help:"Show how the data of a cluster are doing."`
	Remove  clusterRemove  `cmd:"" help:"Take a node that is gone for good out of a cluster that the nodes form."`
	Rights  clusterRights  `cmd:"" help:"Print the rights that an account of a NATS cluster needs."`
}

// natsFlags say which NATS cluster, and who we are there.
type natsFlags struct {
	Cluster  []string `placeholder:"URL" sep:"," help:"Servers of the NATS cluster: nats://a:4222,nats://b:4222."`
	Prefix   string   `name:"cluster-prefix" placeholder:"NAME" default:"pl" help:"Prefix of the cluster's subjects and streams. Default: pl."`
	Creds    string   `placeholder:"FILE" help:"Credentials file of the account."`
	Seed     string   `name:"nkey-seed" placeholder:"FILE" help:"File with an nkey seed."`
	User     string   `name:"nats-user" placeholder:"NAME" help:"User of the account."`
	Password string   `name:"nats-password-env" placeholder:"NAME" default:"PORCHLIGHT_CLUSTER_PASSWORD" help:"Variable of the environment with the user's password, or with a token when there is no user. Default: PORCHLIGHT_CLUSTER_PASSWORD."`
	CA       string   `name:"nats-ca" placeholder:"FILE" help:"CA certificates of the servers (PEM)."`
	Cert     string   `name:"nats-cert" placeholder:"FILE" help:"Client certificate (PEM)."`
	Key      string   `name:"nats-key" placeholder:"FILE" help:"Its key (PEM)."`
}

// storage is the cluster that the flags name.
func (f *natsFlags) storage() porchlight.Storage {
	s := porchlight.Storage{
		Servers: f.Cluster, Prefix: f.Prefix, CredsFile: f.Creds, SeedFile: f.Seed, User: f.User, CA: f.CA, Cert: f.Cert, Key: f.Key,
	}
	secret := os.Getenv(f.Password)
	switch {
	case f.User != "":
		s.Password = porchlight.Secret(secret)
	case f.Creds == "" && f.Seed == "":
		s.Token = porchlight.Secret(secret)
	}
	return s
}

// clusterExport writes an export.
type clusterExport struct {
	natsFlags
	File string   `arg:"" name:"FILE" help:"File to make."`
	Data []string `placeholder:"DIR" help:"Data directory of a node that is stopped; of nodes that form a cluster of their own (--peers), those of a majority."`
	JSON bool     `name:"json" help:"One JSON object."`
}

// Help shows an example.
func (clusterExport) Help() string {
	return "The file holds personal data and is readable by you alone. Of a cluster, export while its nodes are stopped: else the streams are as of different moments. Of a single node it also notes in the data directory what several nodes look for (session keys, watch lists by session); that node may be started again as before. In a NATS cluster it needs the rights that `porchlight cluster rights --import` prints.\n\n" +
		"Example:\n\n  porchlight cluster export --data porchlight-data node.export\n  porchlight cluster export --data n1,n2,n3 cluster.export\n  porchlight cluster export --cluster nats://a:4222,nats://b:4222,nats://c:4222 --creds admin.creds cluster.export"
}

// Run exports.
func (k *clusterExport) Run(ctx context.Context, c console) error {
	from := k.storage()
	switch {
	case len(k.Data) == 0 && len(k.Cluster) == 0:
		return errors.New("of what? Give --data DIR of a node that is stopped, or --cluster URL")
	case len(k.Data) > 0 && len(k.Cluster) > 0:
		return errors.New("--data and --cluster are both given: export one at a time")
	case len(k.Data) == 1:
		from = porchlight.Storage{Data: k.Data[0], Prefix: k.Prefix}
	case len(k.Data) > 1:
		from = porchlight.Storage{Members: k.Data}
	}
	t := newTransfer(c, "export")
	err := porchlight.Export(ctx, from, k.File, t.told)
	return t.end(err, k.JSON, k.File)
}

// clusterImport fills a cluster.
type clusterImport struct {
	natsFlags
	File     string   `arg:"" name:"FILE" help:"File that export made."`
	Data     []string `placeholder:"DIR" help:"Data directories to make, one for each node of a cluster that the nodes form (--peers); each ends with the node's name."`
	Replicas int      `default:"3" help:"Servers that keep each message."`
	JSON     bool     `name:"json" help:"One JSON object."`
}

// Help shows an example.
func (clusterImport) Help() string {
	return "It comes before the first node starts on the cluster; where anything is stored already, nothing is changed. In a NATS cluster it needs more rights than a node: those that `porchlight cluster rights --import` prints.\n\n" +
		"Example:\n\n  porchlight cluster import --cluster nats://a:4222,nats://b:4222,nats://c:4222 --creds admin.creds node.export\n  porchlight cluster import --data moved/n1,moved/n2,moved/n3 node.export"
}

// Run imports.
func (k *clusterImport) Run(ctx context.Context, c console) error {
	to := k.storage()
	to.Replicas = k.Replicas
	switch {
	case len(k.Data) == 0 && len(k.Cluster) == 0:
		return errors.New("into what? Give --cluster URL, or --data with a directory to make for each node")
	case len(k.Data) > 0 && len(k.Cluster) > 0:
		return errors.New("--data and --cluster are both given: import into one of the two")
	case len(k.Data) > 0:
		to = porchlight.Storage{Members: k.Data}
	}
	file, err := os.Open(k.File)
	if err != nil {
		return err
	}
	defer file.Close()
	t := newTransfer(c, "import")
	err = porchlight.Import(ctx, to, file, t.told)
	return t.end(err, k.JSON, k.File)
}

// transfer shows how far an export or import is.
type transfer struct {
	c    console
	what string
	bar  *progressbar.ProgressBar
	last porchlight.Transfer
}

// newTransfer draws a bar, on a terminal alone.
func newTransfer(c console, what string) *transfer {
	to := c.err
	if f, ok := to.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		to = io.Discard
	}
	return &transfer{c: c, what: what, bar: progressbar.NewOptions(100, progressbar.OptionSetWriter(to), progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false), progressbar.OptionClearOnFinish())}
}

func (t *transfer) told(p porchlight.Transfer) {
	t.last = p
	t.bar.Describe(fmt.Sprintf("%s %s, %d MB", t.what, p.Stream, p.Bytes>>20))
	t.bar.Set(100 * p.Done / max(p.Total, 1))
}

// end says how it went.
func (t *transfer) end(err error, asJSON bool, file string) error {
	t.bar.Close()
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(t.c.out).Encode(map[string]any{"file": file, "streams": t.last.Total, "bytes": t.last.Bytes})
	}
	_, err = fmt.Fprintf(t.c.out, "%s of %s: %d streams, %.1f MB\n", t.what, file, t.last.Total, float64(t.last.Bytes)/(1<<20))
	return err
}

// nodesFlags say which cluster a configuration is that of.
type nodesFlags struct {
	Config string   `placeholder:"FILE" help:"Configuration of the nodes: it says which cluster, and has its secrets."`
	Peers  []string `placeholder:"ADDR" sep:"," help:"Addresses of the nodes, as serve has them, where the configuration does not name them."`
}

// storage is the data of the cluster that the nodes' configuration names.
func (f *nodesFlags) storage() (porchlight.Storage, error) {
	return porchlight.StorageOf(porchlight.Options{ConfigFile: f.Config, Environ: os.Environ(), Peers: f.Peers})
}

// clusterStatus shows the streams.
type clusterStatus struct {
	natsFlags
	nodesFlags
	JSON bool `name:"json" help:"One JSON array."`
}

// Help shows an example.
func (clusterStatus) Help() string {
	return "The exit code is 1 when a stream has no leader, a replica lags, or nothing is stored.\n\nExample:\n\n  porchlight cluster status --config porchlight.yaml\n  porchlight cluster status --config porchlight.yaml --peers 10.0.0.1:7402,10.0.0.2:7402,10.0.0.3:7402\n  porchlight cluster status --cluster nats://a:4222,nats://b:4222,nats://c:4222 --creds porchlight.creds"
}

// Run shows them.
func (k *clusterStatus) Run(ctx context.Context, c console) error {
	of, err := k.natsFlags.storage(), error(nil)
	switch {
	case len(k.Cluster) > 0 && (k.Config != "" || len(k.Peers) > 0):
		return errors.New("--cluster and --config are both given: name the cluster in one way")
	case k.Config != "":
		of, err = k.nodesFlags.storage()
	case len(k.Cluster) == 0:
		return errors.New("of which cluster? Give --config FILE of its nodes, or --cluster URL")
	}
	if err != nil {
		return err
	}
	all, err := porchlight.StorageStatus(ctx, of)
	if err != nil {
		return err
	}
	bad := 0
	for i := range all {
		if all[i].Unavailable != "" || len(all[i].Behind) > 0 {
			bad++
		}
	}
	if k.JSON {
		err = json.NewEncoder(c.out).Encode(append([]porchlight.StreamStatus{}, all...)) // [] where nothing is
	} else {
		err = printStreams(c.out, all)
	}
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return errors.New("nothing is stored here with this prefix: no node has started yet, or the address or the prefix is another")
	case bad > 0:
		return fmt.Errorf("%d of %d streams are not as they should be", bad, len(all))
	}
	return nil
}

func printStreams(out io.Writer, all []porchlight.StreamStatus) error {
	if len(all) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tMESSAGES\tMB\tLAST\tREPLICAS\tLEADER\tBEHIND")
	for _, s := range all {
		behind := strings.Join(s.Behind, ", ")
		if s.Unavailable != "" {
			behind = "unavailable: " + s.Unavailable
		}
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%d\t%d\t%s\t%s\n", s.Stream, s.Messages, float64(s.Bytes)/(1<<20), s.Last, s.Replicas, s.Leader, behind)
	}
	return w.Flush()
}

// clusterRights prints the rights.
type clusterRights struct {
	Prefix string `name:"cluster-prefix" placeholder:"NAME" default:"pl" help:"Prefix of the cluster's subjects and streams. Default: pl."`
	Import bool   `help:"Those of import and export too."`
	JSON   bool   `name:"json" help:"One JSON object."`
}

// Help shows an example.
func (clusterRights) Help() string {
	return "What is printed is a permissions block for the configuration of NATS servers, where it stands beside a user's name and password.\n\nExample:\n\n  porchlight cluster rights > rights.conf\n  porchlight cluster rights --import --json"
}

// Run prints them.
func (k clusterRights) Run(c console) error {
	publish, subscribe, imports := porchlight.ClusterRights(k.Prefix)
	if k.Import {
		publish = append(publish, imports...)
	}
	if k.JSON {
		return json.NewEncoder(c.out).Encode(map[string][]string{"publish": publish, "subscribe": subscribe})
	}
	quoted := func(all []string) string { return "\"" + strings.Join(all, "\",\n    \"") + "\"" }
	_, err := fmt.Fprintf(c.out, "permissions {\n  publish: [\n    %s\n  ]\n  subscribe: [\n    %s\n  ]\n}\n", quoted(publish), quoted(subscribe))
	return err
}
