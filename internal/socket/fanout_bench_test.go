package socket

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
)

// BenchmarkFanOut is changes of 160 bytes to 500 connections of another process, as
// fast as they are taken.
//
//	go test -run '^$' -bench FanOut ./internal/socket
func BenchmarkFanOut(b *testing.B) {
	const peers = 500
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			conns := make(chan *Conn, peers)
			var left atomic.Int64
			s := serve(b, Config{Goroutines: m.goroutines}, nil, Options{}, func(c *Conn) Door {
				conns <- c
				return &counted{left: &left, body: make([]byte, 160)}
			})
			leave := startCrowd(b, fmt.Sprintf("%d %s", peers, s.addr))
			all := make([]*Conn, peers)
			for i := range all {
				all[i] = <-conns
			}
			b.ReportAllocs()
			for b.Loop() {
				left.Add(peers)
				for _, c := range all {
					c.door.(*counted).due.Add(1)
					c.Wake()
				}
				for left.Load() > 20*peers { // more would only be gathered
					runtime.Gosched()
				}
			}
			for left.Load() > 0 {
				runtime.Gosched()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*peers), "ns/delivery")
			leave()
		})
	}
}

// counted is a door that has due messages.
type counted struct {
	silent
	due, told atomic.Int64
	left      *atomic.Int64
	body      []byte
}

func (d *counted) Fill(_ *Conn, out *Out) bool {
	for d.told.Load() < d.due.Load() {
		if out.Full() {
			return true
		}
		d.told.Add(1)
		d.left.Add(-1)
		out.Text(func(b []byte) []byte { return append(b, d.body...) })
	}
	return false
}
