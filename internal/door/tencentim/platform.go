package tencentim

import (
	"strings"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// word has the words for one kind of device: in the query's Detail, as
// OptPlatform of the callback (profile 2020, and 2025 where it differs), and in
// KickedDevice.
type word struct {
	query, opt, opt2025, kicked string
	mobile                      bool // reached by push
}

// words are those that there are. State.StateChange writes IOS in capitals.
var (
	phone   = word{"iPhone", "IOS", "", "iOS", true}
	pad     = word{"iPad", "IOS", "iPad", "iPad", true}
	android = word{"Android", "Android", "", "Android", true}
	web     = word{"Web", "Web", "", "Web", false}
	windows = word{"PC", "Windows", "", "Windows", false}
	mac     = word{"Mac", "Mac", "", "Mac", false}
	linux   = word{"PC", "Unknown", "", "Linux", false}
	// unknown is what the documents have no word for.
	unknown    = word{"PC", "Unknown", "", "Linux", false}
	unknownWeb = word{"Web", "Unknown", "", "Web", false}
)

// platforms says how the name of a platform begins, in lower case and without
// what is no letter. The first that fits counts.
var platforms = []struct {
	begins string
	word   *word
}{
	{"ipad", &pad}, {"ios", &phone}, {"iphone", &phone}, {"ipod", &phone}, {"watchos", &phone}, {"tvos", &phone}, {"visionos", &phone},
	{"android", &android}, {"wearos", &android},
	{"web", &web}, {"browser", &web}, {"miniprogram", &web}, {"miniapp", &web}, {"wechat", &web}, {"weapp", &web},
	{"windows", &windows}, {"win", &windows}, {"desktop", &windows}, {"pc", &windows},
	{"mac", &mac}, {"osx", &mac}, {"darwin", &mac}, {"linux", &linux},
}

// wordsOf finds the words for a platform as a device gave it, which came in by a
// door.
func wordsOf(platform, door string) *word {
	letters := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z':
			return r
		}
		return -1
	}, platform)
	for _, p := range platforms {
		if strings.HasPrefix(letters, p.begins) {
			return p.word
		}
	}
	if door == "live" {
		return &unknownWeb
	}
	return &unknown
}

// byServer is the OptPlatform of what a server did.
const byServer = "RESTAPI"

// optPlatform is the word for who caused an event.
func optPlatform(d *presence.Device, reason presence.Reason, later bool) string {
	w := wordsOf(d.Platform, d.Door)
	switch {
	case reason == presence.ReasonDropped || d.Door == "rest":
		return byServer
	case later && w.opt2025 != "":
		return w.opt2025
	}
	return w.opt
}
