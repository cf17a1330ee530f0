// Package telemetry is the only place that knows the metrics library: it keeps
// what is counted as it happens (calls, how long appends take) and reads, when
// somebody scrapes, what others count anyway. Every name it gives out is listed
// in docs/operations.md, and a test holds the two together.
//
// It decides nothing and nobody waits for it: counting a call is two atomic
// additions behind a look-up, and reading happens in a scrape alone.
package telemetry
