// Package webhook brings what the log concludes to addresses that operators
// name: at least once, in order per user, numbered, also over crashes, outages
// and reloads. It is the mechanism alone. What a request looks like, and what an
// answer means, is a [Format]: native and cloudevents stand below this package,
// the formats of other interfaces in their doors. It computes no facts (package
// facts reads them), and whom may be called is package outbound's affair.
//
// The way of a fact, in small stages:
//
//	reader ─▶ view (true or shown) ─▶ lane of its user ─▶ hold ─▶ batch ─▶ attempt ─▶ judge ─┬▶ cursor
//	                                                                 ▲                       ├▶ again later
//	                                                                 └───────────────────────┘└▶ dead letter
//
// Lanes are independent: what stops one costs the others nothing. The cursor of
// a lane moves after its delivery was answered, so a crash at any point delivers
// again rather than never; a repeat is the same event with the same position,
// number and id.
package webhook
