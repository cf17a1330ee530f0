package store

import "context"

// Liveness keeps, for each node, that it lives. It is for several nodes; one
// alone needs none.
type Liveness interface {
	// Renew says that the named node lives as this incarnation, and returns nil
	// only when a majority of the replicas has it. A node of that name with a
	// higher incarnation makes it fail with ErrReplaced, and data that are others than
	// those of the renewals before with ErrAnew. After any other error it is unknown
	// whether the renewal counts.
	Renew(ctx context.Context, name string, incarnation uint64) error
	// Leave takes the record away, if it is this incarnation's.
	Leave(ctx context.Context, name string, incarnation uint64) error
	// Members returns the records of all nodes as they were after the call began:
	// never those of a replica that lags.
	Members(ctx context.Context) ([]Life, error)
}

// Life is the record of one node.
type Life struct {
	Name        string
	Incarnation uint64
	Renewal     uint64 // another number after each renewal
}
