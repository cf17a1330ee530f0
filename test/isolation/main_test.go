package isolation

import (
	"flag"
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	ats.Register() // its channel must not be made inside a bubble
	flag.Parse()
	if testing.Short() {
		// Each check runs three nodes; the default of 100 is for the long tests.
		if err := flag.Set("rapid.checks", "12"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}
