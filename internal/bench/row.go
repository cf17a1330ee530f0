package bench

import "math"

// Figures are what one server showed in one phase. A figure that does not
// apply to the phase, or could not be measured, is zero and left out of JSON.
type Figures struct {
	Door       string `json:"door"`
	Phase      string `json:"phase"`
	Users      int    `json:"users"`
	Friends    int    `json:"friends"`
	Deliveries int64  `json:"deliveries,omitzero"` // notifications that reached watchers

	CPUPerMillion  float64 `json:"cpu_s_per_million,omitzero"` // CPU seconds of the server per million deliveries
	P50            float64 `json:"p50_ms,omitzero"`            // change to watcher, milliseconds
	P99            float64 `json:"p99_ms,omitzero"`
	P999           float64 `json:"p999_ms,omitzero"`
	CPUPerLogin    float64 `json:"cpu_ms_per_login,omitzero"` // CPU milliseconds of the server per login
	RSSPerIdle     float64 `json:"rss_kb_per_idle,omitzero"`  // KiB resident per connected idle user
	RSSPerStuck    float64 `json:"rss_kb_per_stuck,omitzero"` // KiB resident per watcher that does not read
	P99Before      float64 `json:"p99_before_ms,omitzero"`    // p99 under the same load before those watchers came
	OpeningsPerSec float64 `json:"-"`                         // logins completed per second; for the table only

	Aside Aside `json:"-"`
}

// Aside is what a reader should know to trust the figures; the table shows it.
type Aside struct {
	Rate     float64 // deliveries per second
	Wanted   float64 // deliveries per second that half load asked for
	Missing  int64   // deliveries that never came (coalesced or lost)
	LoadCPU  float64 // cores that the load itself took
	OtherCPU float64 // cores that programs outside the run took meanwhile
}

// Ratio is each figure of the server divided by the null server's; a figure
// that one of them lacks is left out.
type Ratio struct {
	Deliveries     float64 `json:"deliveries,omitzero"`
	CPUPerMillion  float64 `json:"cpu_s_per_million,omitzero"`
	P50            float64 `json:"p50_ms,omitzero"`
	P99            float64 `json:"p99_ms,omitzero"`
	P999           float64 `json:"p999_ms,omitzero"`
	CPUPerLogin    float64 `json:"cpu_ms_per_login,omitzero"`
	RSSPerIdle     float64 `json:"rss_kb_per_idle,omitzero"`
	OpeningsPerSec float64 `json:"-"`
}

// Row is the result of one phase; its JSON is one line of `bench --json`. Goals
// are ratios to Null: the server that makes one write for each delivery.
type Row struct {
	Figures
	Null       *Figures `json:"null,omitempty"`
	Ratio      *Ratio   `json:"ratio,omitempty"`
	NullEpoll  *Figures `json:"null_epoll,omitempty"`
	RatioEpoll *Ratio   `json:"ratio_epoll,omitempty"`
	Seed       uint64   `json:"-"`
}

// newRow puts the figures of a phase together; null and epoll may be nil.
func newRow(own Figures, null, epoll *Figures, seed uint64) Row {
	row := Row{Figures: own.rounded(), Seed: seed}
	row.Null, row.Ratio = beside(own, null)
	row.NullEpoll, row.RatioEpoll = beside(own, epoll)
	return row
}

// beside compares with a null server.
func beside(own Figures, null *Figures) (*Figures, *Ratio) {
	if null == nil {
		return nil, nil
	}
	n := null.rounded()
	return &n, &Ratio{
		Deliveries:     ratio(float64(own.Deliveries), float64(null.Deliveries)),
		CPUPerMillion:  ratio(own.CPUPerMillion, null.CPUPerMillion),
		P50:            ratio(own.P50, null.P50),
		P99:            ratio(own.P99, null.P99),
		P999:           ratio(own.P999, null.P999),
		CPUPerLogin:    ratio(own.CPUPerLogin, null.CPUPerLogin),
		RSSPerIdle:     ratio(own.RSSPerIdle, null.RSSPerIdle),
		OpeningsPerSec: ratio(own.OpeningsPerSec, null.OpeningsPerSec),
	}
}

func ratio(own, null float64) float64 {
	if null == 0 {
		return 0
	}
	return round(own / null)
}

// rounded keeps three places: more would only be noise in the output.
func (f Figures) rounded() Figures {
	for _, p := range []*float64{&f.CPUPerMillion, &f.P50, &f.P99, &f.P999, &f.CPUPerLogin, &f.RSSPerIdle, &f.RSSPerStuck, &f.P99Before, &f.OpeningsPerSec} {
		*p = round(*p)
	}
	return f
}

func round(x float64) float64 { return math.Round(x*1000) / 1000 }
