package pages

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
)

const (
	// proofPath is where a domain serves its proof (C2, registration).
	proofPath = "/__presence"
	// fetchLimit bounds each of the two attempts.
	fetchLimit = 4 * time.Second
	maxProof   = 4 << 10 // bytes; the key has 1,024
)

// How often domains are fetched: for one user, and by the node.
const (
	checksPerMinute = 10
	checksAtOnce    = 5
	nodePerSecond   = 10
	nodeAtOnce      = 20
	mostPaced       = 10_000 // users remembered
)

func newFetcher(private bool) *outbound.Client {
	return outbound.New(outbound.Config{Timeout: fetchLimit, MaxAnswer: maxProof, AllowPrivate: private})
}

// paces limit how often users make us call others. The zero value is ready.
type paces struct {
	mu    sync.Mutex // guards all below
	node  *rate.Limiter
	users map[presence.User]*rate.Limiter
}

// allow takes one call of a user, if he has one left.
func (c *paces) allow(u presence.User, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.node == nil {
		c.node = rate.NewLimiter(nodePerSecond, nodeAtOnce)
	}
	if c.users == nil || len(c.users) >= mostPaced && c.users[u] == nil {
		c.users = map[presence.User]*rate.Limiter{}
	}
	l := c.users[u]
	if l == nil {
		l = rate.NewLimiter(rate.Every(time.Minute/checksPerMinute), checksAtOnce)
		c.users[u] = l
	}
	return l.AllowN(now, 1) && c.node.AllowN(now, 1)
}

// attempt is how one address of the proof answered.
type attempt struct {
	Address string
	Why     string // empty: it proves the domain
}

// fetchProof asks a publisher's domain for its proof, by https and then by http as
// the document has it. proven is true when one of them gave it.
func (p *Pages) fetchProof(ctx context.Context, of publisher.Publisher, private bool) (tried []attempt, proven bool) {
	client := p.fetch
	if private {
		client = p.private
	}
	for _, scheme := range []string{"https://", "http://"} {
		a := attempt{Address: scheme + of.Domain + proofPath}
		answer, err := client.Get(ctx, a.Address, http.Header{"Accept": {"text/plain"}, "User-Agent": {"Porchlight domain check"}})
		a.Why = wrongProof(of, answer, err)
		tried = append(tried, a)
		if a.Why == "" {
			return tried, true
		}
	}
	return tried, false
}

// wrongProof says what is wrong with an answer, and nothing of what else it says.
// Why a connection failed is not told in detail: it would make us a scanner of
// other people's networks.
func wrongProof(of publisher.Publisher, answer outbound.Answer, err error) string {
	switch {
	case errors.Is(err, outbound.ErrAddress):
		return "the name leads to a private or reserved address, which we do not call"
	case errors.Is(err, outbound.ErrTooLarge):
		return fmt.Sprintf("the answer is longer than %d bytes; serve the key and nothing else", maxProof)
	case err != nil:
		return "no answer: the server could not be reached, or not within 4 seconds"
	case answer.Status >= 300 && answer.Status < 400:
		return fmt.Sprintf("status %d: redirects are not followed; serve the key at this very address", answer.Status)
	case answer.Status != http.StatusOK:
		return fmt.Sprintf("status %d, and it should be 200", answer.Status)
	}
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return "the answer is not text/plain; set its Content-Type"
	}
	if !of.Proves(answer.Body) {
		return "the answer is not the key of this publisher; copy it again, all 1,024 characters"
	}
	return ""
}
