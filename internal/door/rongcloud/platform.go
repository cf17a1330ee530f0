package rongcloud

import (
	"strings"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// platforms says how the name of a platform begins, in lower case and without
// what is no letter, and which of the interface's words it is. The first that
// fits counts. HarmonyOS is in its newer documents only.
var platforms = []struct{ begins, os string }{
	{"ios", "iOS"}, {"iphone", "iOS"}, {"ipad", "iOS"}, {"ipod", "iOS"}, {"tvos", "iOS"}, {"watchos", "iOS"}, {"visionos", "iOS"},
	{"android", "Android"}, {"wearos", "Android"},
	{"harmony", "HarmonyOS"}, {"openharmony", "HarmonyOS"},
	{"miniprogram", "MiniProgram"}, {"miniapp", "MiniProgram"}, {"wechat", "MiniProgram"}, {"weapp", "MiniProgram"},
	{"web", "Websocket"}, {"browser", "Websocket"}, {"linux", "Websocket"},
	{"windows", "PC"}, {"win", "PC"}, {"mac", "PC"}, {"osx", "PC"}, {"darwin", "PC"}, {"desktop", "PC"}, {"pc", "PC"},
}

// osOf is the interface's word for what the user holds. It has none for "not
// known": such a device is a Websocket when it came in by a WebSocket door, else
// a PC.
func osOf(d *presence.Device) string {
	letters := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z':
			return r
		}
		return -1
	}, d.Platform)
	for _, p := range platforms {
		if strings.HasPrefix(letters, p.begins) {
			return p.os
		}
	}
	if d.Door == "live" {
		return "Websocket"
	}
	return "PC"
}
