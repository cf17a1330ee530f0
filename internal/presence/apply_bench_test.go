package presence

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// go test -run '^$' -bench . -benchmem ./internal/presence

// BenchmarkApply folds the record every session writes, over users with as
// many sessions open; a group commit of 256 records brings 350,000 a second.
func BenchmarkApply(b *testing.B) {
	for _, others := range []int{0, 2, 15} {
		b.Run(fmt.Sprintf("open_and_close/%d_others", others), func(b *testing.B) {
			b.ReportAllocs()
			u, _ := fold(benchSessions(others))
			r := rec(RecordOpened, 99, 0, 1000, on("ios", "phone"))
			facts := make([]Fact, 0, 4)
			for b.Loop() { // one loop is two records
				r.Kind, r.Epoch.Counter = RecordOpened, r.Epoch.Counter+1
				facts = u.Apply(&r, facts[:0])
				r.Kind = RecordClosed
				facts = u.Apply(&r, facts[:0])
			}
			if len(facts) != 1 {
				b.Fatalf("got %d facts of a close, want 1", len(facts))
			}
		})
	}
	b.Run("void", func(b *testing.B) {
		b.ReportAllocs()
		log := benchSessions(3)
		u, _ := fold(log)
		for b.Loop() {
			u.Apply(&log[0], nil)
		}
	})
	// Users as a log brings them: each new, in no order, so that nothing is in
	// the processor's cache.
	b.Run("many_users", func(b *testing.B) {
		b.ReportAllocs()
		users := make([]Folded, 200_000)
		order := rand.New(rand.NewPCG(1, 2)).Perm(len(users))
		r := rec(RecordOpened, 1, 0, 1000, on("ios", "phone"))
		facts := make([]Fact, 0, 4)
		for i := 0; b.Loop(); i++ {
			if i%len(users) == 0 {
				r.Epoch.Counter++
			}
			facts = users[order[i%len(users)]].Apply(&r, facts[:0])
		}
	})
}

func benchSessions(n int) (log []Record) {
	for i := range n {
		log = append(log, rec(RecordOpened, i, 1, 500, on("web", fmt.Sprint("tab ", i))))
	}
	return log
}

func benchRecords(n int) (log []Record) {
	for i := range n {
		r := rec(RecordOpened, i, 1, 1700000000000)
		r.User.ID = UserID(fmt.Sprint("user-", i))
		r.Device = Device{Platform: "ios", Product: "demo", Locale: "en-US", ID: fmt.Sprint("device-", i), Version: "17.4", Addr: "192.0.2.17:50123", Door: "isonline"}
		log = append(log, r)
	}
	return log
}

func BenchmarkRecords(b *testing.B) {
	for _, n := range []int{1, 100, 256} {
		log := benchRecords(n)
		whole := AppendRecords(nil, log)
		b.Run(fmt.Sprintf("append/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(whole)))
			buf := make([]byte, 0, len(whole))
			for b.Loop() {
				AppendRecords(buf, log)
			}
		})
		b.Run(fmt.Sprintf("parse/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(whole)))
			for b.Loop() {
				if _, err := ParseRecords(whole); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFolded(b *testing.B) {
	u, _ := fold(benchRecords(2))
	whole := AppendFolded(nil, testUser, &u)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(whole)))
		buf := make([]byte, 0, len(whole))
		for b.Loop() {
			AppendFolded(buf, testUser, &u)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(whole)))
		for b.Loop() {
			if _, _, _, err := ParseFolded(whole); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCheck is what each status update costs at the door.
func BenchmarkCheck(b *testing.B) {
	for name, s := range map[string]*Status{
		"text": {Text: text("In a meeting")},
		"full": {Text: text("In a meeting"), Properties: properties(MaxProperties, text("some value"))},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if bad := s.Check(); bad != nil {
					b.Fatal(bad)
				}
			}
		})
	}
}
