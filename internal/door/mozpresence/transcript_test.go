package mozpresence

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
)

// The golden transcripts, which test/conformance plays with two WebSocket libraries
// and says the words of, under a clock of their own: what is expected is there
// without any time, and nothing else comes.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) != 4 {
		t.Fatalf("transcripts: %v, %v, want 4", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			inBubble(t, doortest.Config{}, func(t *testing.T, n *node) { n.play(string(text)) })
		})
	}
}

// play plays a transcript.
func (n *node) play(text string) {
	id, key := n.active()
	names := []string{"$APP", id, "$KEY", key}
	var sock, device *peer
	var came []string
	var user, answer string
	for line := range strings.Lines(text) {
		word, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		arg = strings.NewReplacer(names...).Replace(arg)
		if sock != nil {
			came = append(came, sock.Came()...)
		}
		switch word {
		case "user":
			user = arg
			names = append(names, "$USER", user, "$UID", n.grant(id, user), "$ASSERTION", n.JWT(user))
		case "socket":
			path, bearer, _ := strings.Cut(arg, " ")
			var header []string
			if bearer != "" {
				header = []string{"Authorization", "Bearer " + n.JWT(user)}
			}
			sock = n.dial(path, header...)
		case ">":
			if len(came) > 0 {
				n.t.Errorf("before %s: got %q, want nothing more", arg, came)
			}
			came = sock.say("%s", arg)
		case "<":
			if len(came) == 0 {
				n.t.Fatalf("got nothing, want %s", arg)
			}
			n.same(arg, came[0])
			came = came[1:]
		case "post":
			_, answer = n.call("POST", "/"+id+"/notification", key, arg)
		case "=":
			n.same(arg, answer)
		case "device":
			who, word, _ := strings.Cut(arg, " ")
			if device == nil {
				device = n.dial("/presence", "Authorization", "Bearer "+n.JWT(who))
			}
			device.say(`{"status":%q}`, word)
		}
	}
	synctest.Wait()
	if came = append(came, sock.Came()...); len(came) > 0 {
		n.t.Errorf("at the end: got %q, want nothing more", came)
	}
}

// same compares two frames, of which the first may have "*" for any value.
func (n *node) same(want, got string) {
	n.t.Helper()
	var w, g any
	if json.Unmarshal([]byte(want), &w) != nil || json.Unmarshal([]byte(got), &g) != nil || !fits(w, g) {
		n.t.Errorf("got %s, want %s", got, want)
	}
}

func fits(want, got any) bool {
	switch w := want.(type) {
	case string:
		return w == "*" || w == fmt.Sprint(got)
	case []any:
		g, ok := got.([]any)
		fit := ok && len(g) == len(w)
		for i := 0; fit && i < len(w); i++ {
			fit = fits(w[i], g[i])
		}
		return fit
	case map[string]any:
		g, ok := got.(map[string]any)
		for k, v := range g {
			ok = ok && w[k] != nil && fits(w[k], v)
		}
		for k, v := range w {
			ok = ok && (g[k] != nil || v == "*")
		}
		return ok
	}
	return reflect.DeepEqual(want, got)
}
