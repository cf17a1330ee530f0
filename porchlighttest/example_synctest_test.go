package porchlighttest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/porchlighttest"
)

// A test with a clock of its own: five minutes of being online pass in half a second.
// TestMain calls Synctest.
func ExampleInMemory() {
	var _ func(*testing.T) = testLongCall // in a program of yours: TestLongCall
}

func testLongCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := porchlighttest.Start(t, porchlighttest.InMemory())
		bob, err := srv.Client("bob").Open(t.Context(), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(5 * time.Minute)
		if err := bob.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		found, err := srv.Client("alice").Query(t.Context(), "bob")
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Since(found[0].LastSeen); left > time.Second {
			t.Errorf("bob left %v ago, want just now", left)
		}
	})
}
