package live

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/fault"
)

const page = "../../../docs/interfaces/live.md"

// The dialogue on the page of this interface happens as it stands there, but for
// ids, tokens and times.
func TestThePage(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "```frames\n")
	dialogue, _, ok := strings.Cut(rest, "\n```")
	if !ok {
		t.Fatal("the page has no dialogue")
	}
	inBubble(t, doortest.Config{}, func(t *testing.T, n *node) {
		devices := map[string]*peer{}
		come := map[string][]string{}
		played := 0
		for line := range strings.Lines(dialogue) {
			who, frame, _ := strings.Cut(strings.TrimSpace(line), " ")
			arrow, frame, _ := strings.Cut(frame, " ")
			p := devices[who]
			if p == nil {
				p = n.open()
				devices[who] = p
			}
			if arrow == "→" {
				p.Say("%s", strings.ReplaceAll(frame, `"JWT"`, `"`+n.JWT(who)+`"`))
				continue
			}
			played++
			come[who] = append(come[who], p.Came()...)
			if len(come[who]) == 0 {
				t.Fatalf("nothing came in place of\n%s", line)
			}
			got := come[who][0]
			come[who] = come[who][1:]
			if !reflect.DeepEqual(plain(t, got), plain(t, frame)) {
				t.Errorf("came\n%s\non the page stands\n%s", got, frame)
			}
		}
		if played < 10 {
			t.Errorf("the dialogue has %d frames of the node", played)
		}
	})
}

// plain is a frame without what differs each time.
func plain(t *testing.T, frame string) (v any) {
	t.Helper()
	frame = regexp.MustCompile(`"(id|session|resume)":"[\w-]{20,}"`).ReplaceAllString(frame, `"$1":"x"`)
	frame = regexp.MustCompile(`\b\d{12,13}\b`).ReplaceAllString(frame, "0")
	if err := json.Unmarshal([]byte(frame), &v); err != nil {
		t.Fatalf("%s: %v", frame, err)
	}
	return v
}

// Every reason and code of the door stands on the page, and every test that the
// page names is there.
func TestThePageIsWhole(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	reasons := []string{originRefused, noHello, tooManyConnections, sessionClosed, frameInvalid}
	for _, k := range fault.Kinds() {
		if k != fault.SlowConsumer && k != fault.KeyInvalid { // nobody is told the first, the second is a server's
			reasons = append(reasons, k.String())
		}
	}
	for _, r := range reasons {
		if !strings.Contains(text, "`"+r+"`") {
			t.Errorf("the page does not have %s", r)
		}
	}
	sources, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, s := range sources {
		if strings.HasSuffix(s.Name(), "_test.go") {
			b, err := os.ReadFile(s.Name())
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(b)
		}
	}
	for line := range strings.Lines(text) {
		for part := range strings.SplitSeq(line, "; ") {
			_, names, ok := strings.Cut(part, "live Test")
			if !ok {
				continue
			}
			for _, name := range regexp.MustCompile(`\b(Test|Fuzz)\w+`).FindAllString("Test"+names, -1) {
				if name != "TestName" && !strings.Contains(tests.String(), "func "+name+"(") {
					t.Errorf("the page names %s, which is no test here", name)
				}
			}
		}
	}
}
