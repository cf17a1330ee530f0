package porchlight

import (
	"context"
	"io"

	"github.com/porchlight-dev/porchlight/internal/app"
)

// Storage says where data are: in the data directory of a node that does not run,
// or in a NATS cluster. Its password and token do not show when it is formatted.
type Storage = app.Storage

// Secret is a text that does not show, however it is formatted or logged.
type Secret = app.Secret

// Transfer tells how far an Export or Import is.
type Transfer = app.Transfer

// StreamStatus is how one of the streams that hold the data is doing.
type StreamStatus = app.StreamStatus

// Export writes all that is stored into a new file, which is there whole or not at
// all. told, when not nil, hears how far it is.
func Export(ctx context.Context, from Storage, file string, told func(Transfer)) error {
	return app.ExportData(ctx, from, file, told)
}

// StorageOf is where the running nodes of a configuration have their data: for
// StorageStatus and RemoveNode.
func StorageOf(o Options) (Storage, error) {
	c, err := o.read()
	if err != nil {
		return Storage{}, err
	}
	return app.StorageOf(c)
}

// Removed is what the removal of a node left.
type Removed = app.Removed

// RemoveNode takes a node that is gone for good out of a cluster that its nodes
// form, while the others run, and returns when they have made the copies anew that
// it had. It is refused while the node runs, and where anything would have less than
// a majority of its copies meanwhile. told hears how many streams of all lack copies.
func RemoveNode(ctx context.Context, from Storage, name string, told func(lacking, all int)) (Removed, error) {
	return app.RemoveNode(ctx, from, name, told)
}

// Import fills an empty cluster, or an empty data directory, with an export, before
// the first node starts on it. What is not a whole export changes nothing.
func Import(ctx context.Context, to Storage, file io.ReadSeeker, told func(Transfer)) error {
	return app.ImportData(ctx, to, file, told)
}

// StorageStatus tells how what is stored is doing.
func StorageStatus(ctx context.Context, of Storage) ([]StreamStatus, error) {
	return app.DataStatus(ctx, of)
}

// ClusterRights are the subjects that the account of a NATS cluster must be allowed
// to publish and subscribe to, and those that Import and Export publish to beside them.
func ClusterRights(prefix string) (publish, subscribe, imports []string) {
	return app.ClusterRights(prefix)
}
