package client

import "sync"

// addresses are where the nodes of one cluster are; one of them is used.
type addresses struct {
	mu   sync.Mutex // guards at
	list []string
	at   int
}

func newAddresses(cfg *Config, form func(string) string) *addresses {
	a := &addresses{}
	for _, addr := range append([]string{cfg.Addr}, cfg.More...) {
		a.list = append(a.list, form(addr))
	}
	return a
}

// now is the one that is used.
func (a *addresses) now() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.list[a.at]
}

// failed goes on to the next one, unless somebody did.
func (a *addresses) failed(addr string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.list[a.at] == addr {
		a.at = (a.at + 1) % len(a.list)
	}
}
