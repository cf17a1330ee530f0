package config

import (
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/mozpresence"
	"github.com/porchlight-dev/porchlight/internal/door/mozpresence/pages"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Mozpresence is an app's side of Mozilla's Presence interface.
type Mozpresence struct {
	// Publishers says who may register one: open is every user, closed the
	// developers alone. "" leaves the interface out.
	Publishers string   `yaml:"publishers" env:"PUBLISHERS"`
	Developers []string `yaml:"developers" env:"DEVELOPERS"` // user ids
	// LoginURL is where people get an access token for the pages.
	LoginURL string `yaml:"login_url" env:"LOGIN_URL"`
	// AllowPrivate lets publishers' domains be on loopback and private addresses,
	// with ports and without TLS.
	AllowPrivate bool `yaml:"allow_private" env:"ALLOW_PRIVATE"`
	// LiveQueueTTL is how long a live notification waits for its user, unless it
	// says; 0 is for ever, and none 5 minutes.
	LiveQueueTTL *time.Duration `yaml:"live_queue_ttl" env:"LIVE_QUEUE_TTL"`
}

// The words of Mozpresence.Publishers.
const (
	PublishersOpen   = "open"
	PublishersClosed = "closed"
)

// maxDevelopers bounds a list.
const maxDevelopers = 1000

func (m *Mozpresence) check(p *problems, at place) {
	if m.Publishers == "" {
		if len(m.Developers) > 0 || m.LoginURL != "" || m.AllowPrivate || m.LiveQueueTTL != nil {
			p.add(at.key("publishers"), "is missing; write open or closed, or leave mozpresence out")
		}
		return
	}
	if m.Publishers != PublishersOpen && m.Publishers != PublishersClosed {
		p.add(at.key("publishers"), "unknown word %.64q; use open or closed", m.Publishers)
	}
	if len(m.Developers) > maxDevelopers {
		p.add(at.key("developers"), "%d users; at most %d are allowed", len(m.Developers), maxDevelopers)
	}
	for i, id := range m.Developers {
		if !presence.ValidUserID(id) {
			p.add(at.key("developers").item(i), "is not a user id (1 to %d bytes of UTF-8 without control characters)", presence.MaxUserID)
		}
	}
	if m.LoginURL != "" {
		if u, err := url.Parse(m.LoginURL); err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !m.AllowPrivate) {
			p.add(at.key("login_url"), "is not an https address without a user's name")
		}
	}
	if t := m.LiveQueueTTL; t != nil && (*t < 0 || *t > mailbox.LongestTTL) {
		p.add(at.key("live_queue_ttl"), "%v is not from 0 to %v", *t, mailbox.LongestTTL)
	}
}

// on reports whether the app has the interface.
func (m *Mozpresence) on() bool { return m.Publishers != "" }

// queueTTL is LiveQueueTTL with its default.
func (m *Mozpresence) queueTTL() time.Duration {
	if m.LiveQueueTTL == nil {
		return mailbox.DefaultTTL
	}
	return *m.LiveQueueTTL
}

// MozpresenceApps is what the Mozilla door needs.
func (c *Config) MozpresenceApps() (list []mozpresence.App) {
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		if m := c.Apps[name].Mozpresence; m.on() {
			list = append(list, mozpresence.App{App: presence.AppID(name), QueueTTL: m.queueTTL()})
		}
	}
	return list
}

// MozpresencePages is what its pages need.
func (c *Config) MozpresencePages() (list []pages.App) {
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		m := c.Apps[name].Mozpresence
		if !m.on() {
			continue
		}
		a := pages.App{App: presence.AppID(name), Open: m.Publishers == PublishersOpen, LoginURL: m.LoginURL, AllowPrivate: m.AllowPrivate}
		for _, id := range m.Developers {
			a.Developers = append(a.Developers, presence.UserID(id))
		}
		list = append(list, a)
	}
	return list
}
