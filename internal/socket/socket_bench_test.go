package socket

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// BenchmarkWrite is one turn of a connection with so many frames of 160 bytes
// waiting, written to loopback, and read there.
//
//	go test -run '^$' -bench 'Write|Read' ./internal/socket
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{1, 10} {
		for _, m := range modes {
			b.Run(fmt.Sprintf("%d/%s", n, m.name), func(b *testing.B) {
				conns := make(chan *Conn, 1)
				d := &batch{n: n, body: bytes.Repeat([]byte{'x'}, 160)}
				s := serve(b, Config{Goroutines: m.goroutines}, nil, Options{}, func(c *Conn) Door {
					conns <- c
					return d
				})
				p := s.join(b)
				c := <-conns
				got := make([]byte, n*(160+midHead))
				w := newWorker(s.writers)
				var to sender = w
				if m.goroutines {
					to = alone{}
				}
				b.ReportAllocs()
				for b.Loop() {
					c.turn.Store(busy)
					c.acquire()
					c.write(to)
					c.release()
					if _, err := io.ReadFull(p.Conn, got); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/frame")
			})
		}
	}
}

// batch is a door that always has n messages.
type batch struct {
	silent
	n    int
	body []byte
}

func (d *batch) Fill(_ *Conn, out *Out) bool {
	for range d.n {
		out.Text(func(b []byte) []byte { return append(b, d.body...) })
	}
	return false
}

// BenchmarkRead is a message of 60 bytes there and an answer back.
func BenchmarkRead(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			s := serve(b, Config{Goroutines: m.goroutines}, nil, Options{}, func(*Conn) Door { return &echo{} })
			p := s.join(b)
			ask := frame(aText, string(bytes.Repeat([]byte{'x'}, 60)))
			got := make([]byte, 62)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Write(ask); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(p.r, got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFrames is the frame reader alone: a message that came whole.
func BenchmarkFrames(b *testing.B) {
	ask := frame(aText, string(bytes.Repeat([]byte{'x'}, 60)))
	buf := make([]byte, len(ask))
	f := frames{max: 1000, to: deafSink{}}
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, ask)
		if _, bad := f.feed(buf); bad != nil {
			b.Fatal(bad)
		}
	}
}

type deafSink struct{ sink }

func (deafSink) message(Kind, []byte) bool { return true }
