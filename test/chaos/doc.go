// Package chaos kills the real binary with -9, and stops it with SIGTERM,
// under load, starts it again on the same directory, and checks what design §9
// promises of one node: no ghost (R1, R2), no false offline (R3), no record
// lost as far as the fold (R4), watches that deliver again (R6), and a last
// seen that never goes back (R12). It prints the worst figures.
//
// What devices do goes over the generated stubs, not over the Go client, so
// that every acknowledged call is known; two watchers use the Go client, as
// programs do. A history (history_test.go) keeps what was asked and what was
// acknowledged; the checks (check_*_test.go) compare it with what the server
// shows and with the log on disk, and prove_test.go shows that each of them
// can fail.
//
// PORCHLIGHT_CHAOS_ROUNDS is the number of kills: 10 when it is not set, 1 with
// -short, and now and then a SIGTERM beside; from 100 on, three rounds with
// restart_grace 30 s follow. PORCHLIGHT_CHAOS_SEED repeats a run as far as two
// processes on one machine can be repeated, and PORCHLIGHT_CHAOS_DIR keeps the
// server's directory and log.
//
// TestWebhooks does the same beside a receiver of webhooks in all moods
// (hook_test.go) and users who come and go in all ways: what it was told is held
// against what was acknowledged and against a snapshot (R4, R5, R12).
//
// TestNodes plays faults on several nodes, each a process of this test program
// (member_test.go), under guests who come back at any node (guest_test.go). The
// faults (faults_test.go) come in a random order; cables of our own (proxy_test.go)
// lie between nodes, and between nodes and a third of the guests. A round in which
// the machine itself stood still is void and played again. It runs
// where PORCHLIGHT_CHAOS_NODES says how many nodes; PORCHLIGHT_CHAOS_GUESTS is the
// number of guests, PORCHLIGHT_CHAOS_MINUTES how long it plays (otherwise
// PORCHLIGHT_CHAOS_ROUNDS counts, or each fault comes once), and
// PORCHLIGHT_CHAOS_FAULTS picks faults by parts of their names, with commas
// between. With PORCHLIGHT_CHAOS_NETWORK set, and as root, nodes are hosts in
// network namespaces. TestNodesOverServers does the same over three NATS servers.
//
// It is not the place for rules that one process can show (test/script), or for
// faults of disks (internal/store/storetest).
package chaos
