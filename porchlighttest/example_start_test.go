package porchlighttest_test

import (
	"testing"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/porchlighttest"
)

// A test of one's own program: a server in one line, signed-in clients, and a
// question.
func ExampleStart() {
	var _ func(*testing.T) = testBobIsOnline // in a program of yours: TestBobIsOnline
}

func testBobIsOnline(t *testing.T) {
	srv := porchlighttest.Start(t)
	if _, err := srv.Client("bob").Open(t.Context(), client.Options{}); err != nil {
		t.Fatal(err)
	}
	found, err := srv.Client("alice").Query(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if !found[0].Available {
		t.Error("bob is offline")
	}
}
