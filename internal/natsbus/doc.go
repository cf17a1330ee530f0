// Package natsbus owns the engine: the embedded NATS server, the connections
// to it inside the process, and the directory it keeps its files in; or the
// connections to a NATS cluster that others run. Together
// with natsstore it is the wall behind which NATS stays; nobody else imports it.
//
// The embedded server of one node alone opens no port. It syncs what it stores before it
// acknowledges it, so that an acknowledgement survives the loss of power.
//
// With Peers the embedded servers of several nodes form a cluster; then there is
// a port for the other nodes, and one on loopback that nobody has the password
// of, since the engine starts no routes without it. With several nodes there is
// a second connection, for plain messages between them.
//
// It is not a store: which streams there are, what is in them and how long it
// stays is natsstore's affair.
//
// A directory belongs to one process (a lock file says so) and to one mode (a
// mark file says so): the engine deletes the streams of a single server when
// the same directory is opened as a member of a cluster.
package natsbus
