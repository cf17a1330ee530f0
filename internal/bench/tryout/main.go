// Command tryout is temporary.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"runtime"
	"syscall"

	"github.com/porchlight-dev/porchlight/internal/bench"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "null" {
		ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
		defer cancel()
		ctx, cancel2 := context.WithCancel(ctx)
		defer cancel2()
		go func() { io.Copy(io.Discard, os.Stdin); cancel2() }()
		if p := os.Getenv("PROF"); p != "" {
			f, _ := os.Create(fmt.Sprint(p, os.Getpid()))
			pprof.StartCPUProfile(f)
			defer pprof.StopCPUProfile()
		}
		if p := os.Getenv("MEM"); p != "" {
			ch := make(chan os.Signal, 1)
			signal.Notify(ch, syscall.SIGUSR1)
			go func() {
				for range ch {
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					fmt.Fprintf(os.Stderr, "heapalloc %d heapinuse %d idle %d released %d stack %d sys %d gcsys %d other %d goroutines %d numgc %d next %d\n", m.HeapAlloc>>10, m.HeapInuse>>10, m.HeapIdle>>10, m.HeapReleased>>10, m.StackInuse>>10, m.Sys>>10, m.GCSys>>10, m.OtherSys>>10, runtime.NumGoroutine(), m.NumGC, m.NextGC>>10)
					f, _ := os.Create(fmt.Sprint(p, os.Getpid()))
					runtime.GC()
					pprof.Lookup("heap").WriteTo(f, 0)
					f.Close()
					runtime.ReadMemStats(&m)
					fmt.Fprintf(os.Stderr, "after gc: heapalloc %d heapinuse %d stack %d\n", m.HeapAlloc>>10, m.HeapInuse>>10, m.StackInuse>>10)
				}
			}()
		}
		err := bench.NullServer(ctx, "127.0.0.1:0", func(a string) error { return bench.Ready(os.Stdout, a) })
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	users := flag.Int("users", 5000, "")
	friends := flag.Int("friends", 50, "")
	secs := flag.Int("seconds", 5, "")
	phases := flag.String("phase", "", "")
	prof := flag.String("prof", "", "")
	profn := flag.String("profnull", "", "")
	flag.Parse()
	if *prof != "" {
		f, _ := os.Create(*prof)
		pprof.StartCPUProfile(f)
		defer pprof.StopCPUProfile()
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	var rows []bench.Row
	child := bench.Child([]string{os.Args[0], "null"})
	child2 := bench.Child([]string{os.Args[0], "null"}, "PROF="+*profn)
	cfg := bench.Config{Self: child2, Null: child, Users: *users, Friends: *friends, Seconds: *secs,
		Token:  func(u string) (string, error) { return "h." + strings.Repeat("x", 180) + u, nil },
		Report: func(r bench.Row) { b, _ := json.Marshal(r); fmt.Println(string(b)); rows = append(rows, r) },
	}
	if *phases != "" {
		cfg.Phases = strings.Split(*phases, ",")
	}
	if err := bench.Run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	bench.Table(os.Stdout, rows)
}
