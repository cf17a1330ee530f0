package bench

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"testing"

	"go.uber.org/goleak"
)

// childEnv makes the test program play the null server, for the tests that
// need a real process.
const childEnv = "BENCH_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "null":
		if err := nullChild(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "node":
		if err := nodeChild(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "silent":
		fmt.Fprintln(os.Stderr, "no port is free")
		os.Exit(3)
	case "chatty":
		fmt.Println("hello")
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func nullChild() error {
	signal.Ignore(os.Interrupt) // its input says when to end
	ctx, cancel := WithParent(context.Background(), os.Stdin)
	defer cancel()
	return NullServer(ctx, "127.0.0.1:0", func(addr string) error { return Ready(os.Stdout, addr) })
}

// here is a Start of a null server inside the test process.
func here(serve func(context.Context, string, func(string) error) error) Start {
	return func(ctx context.Context) (string, int, func() error, error) {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		addr, done := make(chan string, 1), make(chan error, 1)
		go func() { done <- serve(ctx, "127.0.0.1:0", func(a string) error { addr <- a; return nil }) }()
		stop := func() error { cancel(); return <-done }
		select {
		case a := <-addr:
			return a, os.Getpid(), stop, nil
		case err := <-done:
			cancel()
			return "", 0, nil, err
		}
	}
}

// nullHere is the gRPC one.
func nullHere(ctx context.Context) (string, int, func() error, error) {
	return here(NullServer)(ctx)
}

func testToken(user string) (string, error) { return "token-of-" + user, nil }
