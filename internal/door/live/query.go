package live

import (
	"strconv"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// appendUser appends a user as the asker may see him.
func appendUser(b []byte, id presence.UserID, seen admit.Seen, sessions bool, r localize.Reader) []byte {
	b = append(b, `{"u":`...)
	b = appendText(b, string(id))
	b = append(b, `,"on":`...)
	b = strconv.AppendBool(b, seen.Available)
	b = appendTime(b, "seen", seen.LastSeen)
	b = appendTime(b, "stale", seen.Stale)
	if seen.Unknown {
		b = append(b, `,"unknown":true`...)
	}
	if !sessions {
		return append(b, '}')
	}
	b = append(b, `,"sessions":[`...)
	for i, o := range seen.Sessions {
		if i > 0 {
			b = append(b, ',')
		}
		b = session(b, o.View, o.Face, false, r)
	}
	return append(b, "]}"...)
}
