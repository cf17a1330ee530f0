package config

import (
	"strings"
	"testing"
	"time"
)

func withMozilla(keys string) (*Config, error) {
	return Parse([]byte("apps: {a: {jwt: {issuer: i, keys: [{secret: " + secret + "}]}, mozpresence: {" + keys + "}}}"))
}

func TestMozillaInterface(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]time.Duration{
		"publishers: open": 5 * time.Minute, "publishers: closed, developers: [dana], live_queue_ttl: 0s": 0, "publishers: open, live_queue_ttl: 720h": 720 * time.Hour,
	} {
		c, err := withMozilla(keys)
		if err != nil {
			t.Errorf("%s: got %v, want no error", keys, err)
			continue
		}
		if list := c.MozpresenceApps(); len(list) != 1 || list[0].App != "a" || list[0].QueueTTL != want {
			t.Errorf("%s: got %+v, want a with %v", keys, list, want)
		}
		pages := c.MozpresencePages()
		if len(pages) != 1 || pages[0].Open != strings.Contains(keys, "open") || len(pages[0].Developers) != strings.Count(keys, "dana") {
			t.Errorf("%s: pages %+v", keys, pages)
		}
		if !c.Policies()["a"].TellShow {
			t.Errorf("%s: how users show is not logged", keys)
		}
	}
	c, err := withMozilla("")
	if err != nil || len(c.MozpresenceApps())+len(c.MozpresencePages()) > 0 || c.Policies()["a"].TellShow {
		t.Errorf("without: got %v, %v, want nothing of it", c, err)
	}
}

func TestMozillaInterfaceIsRefused(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]string{
		"publishers: some":                                        "mozpresence.publishers",
		"developers: [dana]":                                      "mozpresence.publishers: is missing",
		`publishers: open, developers: [""]`:                      "developers[0]",
		"publishers: open, live_queue_ttl: 721h":                  "live_queue_ttl",
		"publishers: open, live_queue_ttl: -1s":                   "live_queue_ttl",
		`publishers: open, login_url: "http://id.example/"`:       "login_url",
		`publishers: open, login_url: "https://dana@id.example/"`: "login_url",
		"publishers: open, colour: red":                           "colour",
	} {
		if _, err := withMozilla(keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", keys, err, want)
		}
	}
}
