package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// oddNames could make an engine trip; no two are the same.
func oddNames() []string {
	long := strings.Repeat("x.* ", store.MaxName/4)
	return []string{"a", "A", "a.b", "*", ">", "a ", "日本", long, long[:store.MaxName-1] + "!"}
}

// mustSaveName saves a value over whatever is there.
func mustSaveName(t testing.TB, s store.Names, kind store.NameKind, name, value string) store.Named {
	t.Helper()
	n, err := s.LoadName(context.Background(), kind, name)
	if err != nil {
		t.Fatalf("LoadName %q: got %v, want no error", name, err)
	}
	n.Value = []byte(value)
	if n.Revision, err = s.SaveName(context.Background(), kind, n); err != nil {
		t.Fatalf("SaveName %q: got %v, want no error", name, err)
	}
	return n
}

func scannedNames(t testing.TB, s store.Names, kind store.NameKind) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := s.ScanNames(context.Background(), kind, func(n store.Named) error {
		all[n.Name] = string(n.Value)
		return nil
	})
	if err != nil {
		t.Errorf("ScanNames: got %v, want no error", err)
	}
	return all
}

func nameValues(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	kinds := []store.NameKind{store.NamePublisher, store.NameGrant, store.NameQueue, store.NameRevoking}
	want := map[store.NameKind]map[string]string{}
	for round := range 3 {
		for _, kind := range kinds {
			if diff := cmp.Diff(want[kind], scannedNames(t, s, kind)); diff != "" && round > 0 {
				t.Errorf("round %d, kind %d: the scan differs (-want +got):\n%s", round, kind, diff)
			}
			all := map[string]string{}
			for i, name := range oddNames() {
				if n, err := s.LoadName(ctx, kind, name); string(n.Value) != want[kind][name] || n.Name != name || err != nil {
					t.Errorf("LoadName of kind %d of %q: got %q of %q, %v, want %q", kind, name, n.Value, n.Name, err, want[kind][name])
				}
				all[name] = fmt.Sprint(kind, i, round)
				mustSaveName(t, s, kind, name, all[name])
			}
			mustSaveName(t, s, kind, "a.b", "")
			delete(all, "a.b")
			want[kind] = all
		}
		s = b.store()
	}
	// A roster of the same number is another thing, and not met by a scan.
	mustSaveRoster(t, s, store.RosterList, demoUser("a"), "a roster")
	if n, err := s.LoadName(ctx, store.NameKind(store.RosterList), "a"); string(n.Value) == "a roster" || err != nil {
		t.Errorf("LoadName gave %q, %v, want the named value", n.Value, err)
	}
	if got := scanned(t, s, store.RosterList, ""); len(got) != 1 {
		t.Errorf("rosters: got %v, want the one", got)
	}
}

func nameRevisions(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	first := mustSaveName(t, s, store.NameGrant, "a", "one")
	second := mustSaveName(t, s, store.NameGrant, "a", "two")
	for when, n := range map[string]store.Named{
		"as if there were none":       {Name: "a", Value: []byte("x")},
		"over an older one":           {Name: "a", Value: []byte("x"), Revision: first.Revision},
		"away with an older revision": {Name: "a", Revision: first.Revision},
	} {
		if _, err := s.SaveName(ctx, store.NameGrant, n); !errors.Is(err, store.ErrMoved) || !errors.Is(err, store.ErrRefused) {
			t.Errorf("%s: got %v, want ErrMoved and ErrRefused", when, err)
		}
	}
	s = b.store()
	if n, err := s.LoadName(ctx, store.NameGrant, "a"); n.Revision != second.Revision || string(n.Value) != "two" || err != nil {
		t.Errorf("opened again: got %q at %d, %v, want two at %d", n.Value, n.Revision, err, second.Revision)
	}
	for _, n := range []store.Named{
		{Value: []byte("x")}, {Name: strings.Repeat("x", store.MaxName+1), Value: []byte("x")}, {Name: "\n", Value: []byte("x")},
		{Name: "b", Value: bytes.Repeat([]byte("x"), store.MaxNameValue+1)},
	} {
		if _, err := s.SaveName(ctx, store.NameGrant, n); !errors.Is(err, store.ErrRefused) {
			t.Errorf("a name of %d bytes and a value of %d: got %v, want ErrRefused", len(n.Name), len(n.Value), err)
		}
	}
	mustSaveName(t, s, store.NameGrant, "b", strings.Repeat("x", store.MaxNameValue))
}

// childNames is how many named values the child saves.
const childNames = 8

// saveNames saves a named value, or takes it away: grants come and go.
func saveNames(ctx context.Context, s store.Names, at uint64) {
	name := fmt.Sprint("uid-", at%childNames)
	n, err := s.LoadName(ctx, store.NameGrant, name)
	if err != nil {
		panic(err)
	}
	if n.Value = fmt.Appendf(nil, "%d", at); at/childNames%3 == 2 {
		n.Value = nil
	}
	say("naming %d", at)
	if _, err := s.SaveName(ctx, store.NameGrant, n); err != nil {
		panic(err)
	}
	say("named %d", at)
}

// nameFact is what is known of one named value: it is as of sure, or of one
// begun behind it.
type nameFact struct {
	sure, begun uint64
	known       bool
}

// verifyNames compares named values with what was said of them.
func (f *facts) verifyNames(t testing.TB, s store.Names) {
	t.Helper()
	all := scannedNames(t, s, store.NameGrant)
	for n := range uint64(childNames) {
		name, fact := fmt.Sprint("uid-", n), f.names[n]
		got, err := s.LoadName(context.Background(), store.NameGrant, name)
		if err != nil || string(got.Value) != all[name] {
			t.Errorf("name %s: a load gives %q, %v and a scan %q, want the same", name, got.Value, err, all[name])
		}
		if !fact.known {
			continue
		}
		if v := string(got.Value); v != fact.value(fact.sure) && v != fact.value(fact.begun) {
			t.Errorf("name %s: got %q, want it as of %d, or of %d which was on its way", name, v, fact.sure, fact.begun)
		}
	}
}

// value is what is stored as of a time.
func (nameFact) value(at uint64) string {
	if at/childNames%3 == 2 {
		return ""
	}
	return fmt.Sprint(at)
}
