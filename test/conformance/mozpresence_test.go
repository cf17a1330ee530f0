package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/token"
)

const (
	mozillaSecret = "an access token key of these tests, 32 bytes"
	mozillaConfig = `
apps:
  demo:
    jwt: {issuer: i, keys: [{secret: "` + mozillaSecret + `"}]}
    mozpresence: {publishers: open}
`
	transcripts = rootDir + "/internal/door/mozpresence/testdata"
)

// mozilla is what a transcript is played with: its file, and what stands for the
// names in it. It is JSON for the player in Node.
type mozilla struct {
	File  string            `json:"file"`
	HTTP  string            `json:"http"`
	Names map[string]string `json:"names"` // $APP, $KEY, $UID, $USER, $ASSERTION
}

// TestMozillaTranscripts plays the golden transcripts of the Mozilla interface
// against the real binary, once with coder/websocket and once with npm's ws.
//
// A transcript has a line for each step: "user" names who $USER is, whose
// assertion and uid are meant, "socket PATH [bearer]" to connect, ">" a frame sent, "<" the frame that
// comes next, "post" a body for /$APP/notification with "=" its answer, and
// "device USER STATUS" for what happens at another connection. "*" stands for any
// value.
func TestMozillaTranscripts(t *testing.T) {
	t.Parallel()
	s := &server{program: build(t)}
	dir := t.TempDir()
	file, data := filepath.Join(dir, "porchlight.yaml"), filepath.Join(dir, "data")
	if err := os.WriteFile(file, []byte(mozillaConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := filepath.Abs(transcripts) // Node has another directory
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(at + "/*.txt")
	if err != nil || len(files) != 4 {
		t.Fatalf("transcripts: %v, %v, want 4", files, err)
	}
	var plays []mozilla
	for _, player := range []string{"coder", "ws"} {
		plays = append(plays, publishers(t, data, player, files)...)
	}
	s.config = file
	s.start(t, "serve", "--config", file, "--data", data)
	for i := range plays {
		plays[i].HTTP = s.http
	}
	t.Run("coder", func(t *testing.T) {
		for _, m := range plays[:len(files)] {
			t.Run(filepath.Base(m.File), func(t *testing.T) { m.play(t) })
		}
	})
	t.Run("ws", func(t *testing.T) {
		if _, err := exec.LookPath("node"); err != nil {
			missing(t, "node", "there is no node on this machine")
		}
		if _, err := os.Stat("node/node_modules/ws"); err != nil {
			missing(t, "node", "its packages are not installed: make test-tools does it")
		}
		list, err := json.Marshal(plays[len(files):])
		if err != nil {
			t.Fatal(err)
		}
		runNode(t, "node", []string{"PORCHLIGHT_TRANSCRIPTS=" + string(list)}, "mozpresence.mjs")
	})
}

// publishers registers one for each transcript, with the grant of a user of the
// player's own, in a data directory that nobody serves.
func publishers(t *testing.T, data, player string, files []string) (plays []mozilla) {
	t.Helper()
	ctx := t.Context()
	bus, err := natsbus.New(natsbus.Config{Dir: data})
	if err == nil {
		err = bus.Start(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Stop(context.WithoutCancel(ctx))
	store, err := natsstore.Open(ctx, natsstore.Config{Bus: bus, Usage: natsstore.Room(1 << 40)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Stop(context.WithoutCancel(ctx))
	reg, err := publisher.New(publisher.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		user := presence.User{App: "demo", ID: presence.UserID(userOf(t, file) + "-" + player)}
		p, err := reg.Register(ctx, user, publisher.Registration{Domain: "chat.example.com", Name: "ChatRoom", Email: "dev@example.com"})
		if err == nil {
			_, err = reg.Prove(ctx, p.ID)
		}
		key := ""
		if err == nil {
			key, _, err = reg.Activate(ctx, p.ID, 0)
		}
		var g publisher.Grant
		if err == nil {
			g, err = reg.Grant(ctx, user, p.ID, "")
		}
		if err != nil {
			t.Fatal(err)
		}
		plays = append(plays, mozilla{File: file, Names: map[string]string{"$APP": p.ID, "$KEY": key, "$UID": g.UID, "$USER": string(user.ID), "$ASSERTION": assertion(t, user.ID)}})
	}
	return plays
}

func assertion(t *testing.T, user presence.UserID) string {
	t.Helper()
	iss := token.Issuer{App: "demo", Issuer: "i", Keys: []token.Key{{Secret: []byte(mozillaSecret)}}}
	raw, err := token.Sign(iss, user, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// steps are the lines of a transcript.
func steps(t *testing.T, file string) (list [][2]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); word != "" && word != "#" {
			list = append(list, [2]string{word, rest})
		}
	}
	return list
}

func userOf(t *testing.T, file string) string { return steps(t, file)[0][1] }

// play plays a transcript with coder/websocket.
func (m *mozilla) play(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var sock, device *websocket.Conn
	var answer string
	for _, s := range steps(t, m.File) {
		arg := s[1]
		for name, value := range m.Names {
			arg = strings.ReplaceAll(arg, name, value)
		}
		switch s[0] {
		case "socket":
			path, bearer, _ := strings.Cut(arg, " ")
			sock = m.dial(ctx, t, path, bearer != "")
			defer sock.CloseNow()
		case ">":
			send(ctx, t, sock, arg)
		case "<":
			same(t, arg, next(ctx, t, sock))
		case "post":
			answer = m.post(ctx, t, arg)
		case "=":
			same(t, arg, answer)
		case "device":
			user, status, _ := strings.Cut(arg, " ")
			if device == nil {
				device = m.dial(ctx, t, "/presence", true)
				defer device.CloseNow()
			}
			send(ctx, t, device, fmt.Sprintf(`{"status":%q,"user":%q}`, status, user))
			same(t, fmt.Sprintf(`{"result":"OK","status":%q,"user":%q}`, status, user), next(ctx, t, device))
		}
	}
}

func (m *mozilla) dial(ctx context.Context, t *testing.T, path string, bearer bool) *websocket.Conn {
	t.Helper()
	o := &websocket.DialOptions{HTTPHeader: http.Header{}}
	if bearer {
		o.HTTPHeader.Set("Authorization", "Bearer "+m.Names["$ASSERTION"])
	}
	c, _, err := websocket.Dial(ctx, "ws://"+m.HTTP+path, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (m *mozilla) post(ctx context.Context, t *testing.T, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.HTTP+"/"+m.Names["$APP"]+"/notification", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+m.Names["$KEY"])
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func send(ctx context.Context, t *testing.T, c *websocket.Conn, frame string) {
	t.Helper()
	if err := c.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		t.Fatal(err)
	}
}

func next(ctx context.Context, t *testing.T, c *websocket.Conn) string {
	t.Helper()
	_, b, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// same compares two frames, of which the first may have "*" for any value.
func same(t *testing.T, want, got string) {
	t.Helper()
	var w, g any
	if json.Unmarshal([]byte(want), &w) != nil || json.Unmarshal([]byte(got), &g) != nil || !fits(w, g) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func fits(want, got any) bool {
	switch w := want.(type) {
	case string:
		if w == "*" {
			return true
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !fits(w[i], g[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		g, ok := got.(map[string]any)
		for k, v := range g {
			if w[k] == nil || !fits(w[k], v) {
				return false
			}
		}
		for k, v := range w {
			if g[k] == nil && v != "*" {
				return false
			}
		}
		return ok
	}
	return reflect.DeepEqual(want, got)
}
