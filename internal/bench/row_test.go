package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRowJSON(t *testing.T) {
	t.Parallel()
	base := Figures{Door: "grpc", Phase: PhaseSaturate, Users: 5000, Friends: 50, Deliveries: 1000, CPUPerMillion: 12.34567, P50: 1, P99: 2, P999: 3}
	null := base
	null.Deliveries, null.CPUPerMillion, null.P50 = 500, 10, 4
	login := Figures{Door: "grpc", Phase: PhaseLogin, Users: 2, Friends: 1, CPUPerLogin: 0.5, OpeningsPerSec: 2000}
	idle := Figures{Door: "grpc", Phase: PhaseIdle, Users: 2, Friends: 1, RSSPerIdle: 35.5}
	for _, c := range []struct {
		name string
		row  Row
		want string
	}{
		{"alone", newRow(base, nil, nil, 1), `{"door":"grpc","phase":"saturate","users":5000,"friends":50,"deliveries":1000,"cpu_s_per_million":12.346,"p50_ms":1,"p99_ms":2,"p999_ms":3}`},
		{"login", newRow(login, nil, nil, 1), `{"door":"grpc","phase":"login","users":2,"friends":1,"cpu_ms_per_login":0.5}`},
		{"idle", newRow(idle, &idle, nil, 1), `{"door":"grpc","phase":"idle","users":2,"friends":1,"rss_kb_per_idle":35.5,` +
			`"null":{"door":"grpc","phase":"idle","users":2,"friends":1,"rss_kb_per_idle":35.5},"ratio":{"rss_kb_per_idle":1}}`},
		{"with null", newRow(base, &null, nil, 1), `{"door":"grpc","phase":"saturate","users":5000,"friends":50,"deliveries":1000,"cpu_s_per_million":12.346,"p50_ms":1,"p99_ms":2,"p999_ms":3,` +
			`"null":{"door":"grpc","phase":"saturate","users":5000,"friends":50,"deliveries":500,"cpu_s_per_million":10,"p50_ms":4,"p99_ms":2,"p999_ms":3},` +
			`"ratio":{"deliveries":2,"cpu_s_per_million":1.235,"p50_ms":0.25,"p99_ms":1,"p999_ms":1}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := json.Marshal(c.row)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	own := Figures{Door: "grpc", Phase: PhaseSaturate, Users: 10, Friends: 2, Deliveries: 1000, CPUPerMillion: 13, P50: 1, P99: 2, P999: 3,
		Aside: Aside{Rate: 12345, Missing: 7, LoadCPU: 0.5}}
	null := own
	null.CPUPerMillion, null.Aside = 10, Aside{Rate: 12345}
	half := own
	half.Phase, half.CPUPerMillion, half.Aside = PhaseHalf, 11, Aside{Rate: 400, Wanted: 1000, OtherCPU: 0.7}
	halfNull := null
	halfNull.Phase = PhaseHalf
	login := Figures{Door: "grpc", Phase: PhaseLogin, Users: 10, Friends: 2, CPUPerLogin: 0.5, OpeningsPerSec: 2000}
	var out bytes.Buffer
	if err := Table(&out, []Row{newRow(login, nil, nil, 3), newRow(own, &null, nil, 3), newRow(half, &halfNull, nil, 3)}); err != nil {
		t.Fatal(err)
	}
	got := make([]string, 0, 20)
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"10 users, 2 friends each, door grpc, seed 3",
		"",
		"phase figure server null ratio goal",
		"login CPU ms per login 0.5 ≤ 0.9 met",
		"openings per s 2000",
		"saturate CPU s per million deliveries 13.0 10.0 1.3 ≤ 1.2 × null missed",
		"deliveries per s 12345 12345 1",
		"change to watcher p50, ms 1 1 1",
		"p99, ms 2 2 1",
		"p99.9, ms 3 3 1",
		"half CPU s per million deliveries 11.0 10.0 1.1 ≤ 1.2 × null met",
		"deliveries per s 400.0 12345 0.032",
		"change to watcher p50, ms 1 1 1",
		"p99, ms 2 2 1",
		"p99.9, ms 3 3 1",
		"saturate, server: 7 deliveries never came (coalesced or lost)",
		"saturate, server: the load itself took 0.50 cores",
		"saturate, null server: the load itself took 0.00 cores",
		"half, server: 1000 deliveries per s were asked for, 400 came",
		"half, server: other programs took 0.70 cores meanwhile and disturbed the figures",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestTableReportsAWriterThatFails(t *testing.T) {
	t.Parallel()
	for _, after := range []int{0, 1} {
		w := &failing{after: after}
		if err := Table(w, []Row{newRow(Figures{Phase: PhaseSaturate}, nil, nil, 1)}); !errors.Is(err, errFull) {
			t.Errorf("writer that fails after %d writes: got %v, want %v", after, err, errFull)
		}
	}
}

var errFull = errors.New("no space left")

// failing takes some writes and fails afterwards. The table is one of them.
type failing struct{ after int }

func (f *failing) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("cores")) || f.after == 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestTableOfTheLiveDoor(t *testing.T) {
	t.Parallel()
	login := Figures{Door: DoorLive, Phase: PhaseLogin, Users: 10, Friends: 2, CPUPerLogin: 0.6}
	null, epoll := login, login
	null.CPUPerLogin, epoll.CPUPerLogin = 0.4, 0.3
	stuck := Figures{Door: DoorLive, Phase: PhaseStuck, RSSPerStuck: 65, P99Before: 3, P50: 1, P99: 2, P999: 3}
	var out bytes.Buffer
	if err := Table(&out, []Row{newRow(login, &null, &epoll, 3), newRow(stuck, nil, nil, 3)}); err != nil {
		t.Fatal(err)
	}
	got := make([]string, 0, 20)
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"10 users, 2 friends each, door live, seed 3",
		"",
		"phase figure server null ratio null, epoll ratio goal",
		"login CPU ms per login 0.6 0.4 1.5 0.3 2 ≤ 0.5 or ≤ 1.6 × null met",
		"openings per s",
		"stuck RSS KiB per watcher that does not read 65.0 ≤ 64.0 missed",
		"p99 of the others before, ms 3",
		"change to watcher p50, ms 1",
		"p99, ms 2",
		"p99.9, ms 3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	b, err := json.Marshal(newRow(login, &null, &epoll, 3))
	if err != nil || !strings.Contains(string(b), `"null_epoll":{"door":"live"`) || !strings.Contains(string(b), `"ratio_epoll":{"cpu_ms_per_login":2}`) {
		t.Errorf("got JSON %s, %v; want both null servers", b, err)
	}
}
