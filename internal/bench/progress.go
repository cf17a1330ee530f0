package bench

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// barEvery bounds how often the bar is drawn: drawing costs CPU that the
// server under load could use.
const barEvery = 200 * time.Millisecond

// bar is the progress bar of a run, one stretch for each phase and server. A
// bar without a writer does nothing.
type bar struct {
	to   io.Writer
	now  *progressbar.ProgressBar // nil between two stretches
	next time.Time
}

func newBar(to io.Writer) *bar { return &bar{to: to} }

// begin starts a stretch of the given length; a length of 0 shows the name
// alone.
func (b *bar) begin(name string, length int64) {
	b.end()
	if b.to == nil {
		return
	}
	b.now = progressbar.NewOptions64(max(length, 1),
		progressbar.OptionSetWriter(b.to),
		progressbar.OptionSetDescription(name),
		progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionClearOnFinish(),
	)
	_ = b.now.RenderBlank() // a terminal that cannot be written must not end the run
}

// at moves the bar to a position within its stretch.
func (b *bar) at(position int64) {
	if b.now == nil {
		return
	}
	if now := time.Now(); now.After(b.next) {
		b.next = now.Add(barEvery)
		_ = b.now.Set64(min(position, b.now.GetMax64()))
	}
}

// end removes the bar from the terminal.
func (b *bar) end() {
	if b.now != nil {
		_ = b.now.Clear()
		b.now = nil
	}
}
