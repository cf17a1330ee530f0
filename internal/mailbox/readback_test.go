package mailbox

import (
	"context"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// What is not there any more is passed over, and what comes behind it is read.
func TestReadBackPassesOver(t *testing.T) {
	t.Parallel()
	ctx, memory := context.Background(), storetest.NewMemory()
	for i, entry := range []string{"gone", "here"} {
		if _, err := memory.AppendMail(ctx, uint64(i), []byte(entry)); err != nil {
			t.Fatal(err)
		}
	}
	if err := memory.CutMail(ctx, 2); err != nil {
		t.Fatal(err)
	}
	m := &Mailboxes{cfg: Config{Store: memory}}
	a, b, c := &held{}, &held{}, &held{number: 1}
	texts, err := m.readBack(ctx, []place{{held: a, sequence: 2, size: 4}, {held: b, sequence: 1, size: 4}, {held: c, sequence: 2, offset: 1, size: 3}})
	if err != nil || len(texts) != 2 || string(texts[a]) != "here" || string(texts[c]) != "ere" {
		t.Errorf("got %v, %v, want what the second entry has", texts, err)
	}
}
