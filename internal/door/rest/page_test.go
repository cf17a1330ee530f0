package rest

import (
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// The page for people has a command for every operation, and a row for every
// status with all its codes.
func TestPageHasEverything(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	b, err := os.ReadFile("../../../docs/interfaces/rest.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	rows := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([0-9, ]+) \| (.*) \|`).FindAllStringSubmatch(page, -1) {
		for status := range strings.SplitSeq(m[1], ", ") {
			rows[status] += m[2]
		}
	}
	codes := func(status, list string) {
		for code := range strings.SplitSeq(list, ", ") {
			if !strings.Contains(rows[status], "`"+code+"`") {
				t.Errorf("the page's row %s says nothing of %s", status, code)
			}
		}
	}
	codes("404", codePath)
	codes("405", codeMethod)
	for path, item := range n.door.api.OpenAPI().Paths {
		where := regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(strings.TrimPrefix(path, Prefix), `[^/"?]+`)
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "PUT": item.Put, "POST": item.Post, "DELETE": item.Delete} {
			if op == nil {
				continue
			}
			how := map[string]string{"GET": `curl -H`, "POST": `curl -H[^$]*\$KEY" --json`, "PUT": `curl -X PUT`, "DELETE": `curl -X DELETE`}[method]
			if !regexp.MustCompile(how+`[^$]*\$KEY"[^$]*"\$API`+where+`["?]`).MatchString(page) &&
				!regexp.MustCompile(how+`[^$]*"\$API`+where+`["?]`).MatchString(page) {
				t.Errorf("the page has no command for %s %s", method, path)
			}
			for status, r := range op.Responses {
				if code, err := strconv.Atoi(status); err == nil && code >= 400 {
					_, list, _ := strings.Cut(r.Description, http.StatusText(code)+": ")
					codes(status, list)
				}
			}
		}
	}
}
