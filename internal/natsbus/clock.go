package natsbus

import "github.com/nats-io/nats-server/v2/server/ats"

// StartClock starts the engine's clock for access times, which all engines of a
// process share, and keeps it until the process ends. It is for tests with a fake
// clock: made by an engine inside a testing/synctest bubble, it would wait on a
// channel from outside and time would stand still.
func StartClock() { ats.Register() }
