package client

import (
	"fmt"
	"testing"
)

func TestValuesOverTheWire(t *testing.T) {
	t.Parallel()
	ref := Ref{Token: "lobby", Args: map[string]any{"n": 3}, Fallback: "in the lobby"}
	tests := []struct {
		in, want any
	}{
		{"x", "x"}, {true, true}, {1.5, 1.5}, {float32(0.5), 0.5},
		{1, int64(1)}, {int8(-1), int64(-1)}, {int16(-2), int64(-2)}, {int32(-3), int64(-3)}, {int64(-4), int64(-4)},
		{uint(1), int64(1)}, {uint8(1), int64(1)}, {uint16(2), int64(2)}, {uint32(3), int64(3)}, {uint64(4), int64(4)},
		{ref, "in the lobby"}, {&ref, "in the lobby"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%T", tt.in), func(t *testing.T) {
			t.Parallel()
			values := map[string]any{"k": tt.in}
			if err := checkValues("p", values); err != nil {
				t.Fatalf("check: %v", err)
			}
			if got := fromValues(toValues(values))["k"]; got != tt.want {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

func TestUpdateOverTheWire(t *testing.T) {
	t.Parallel()
	u := toUpdate(Status{Show: Away, Template: &Ref{Token: "t", Args: map[string]any{"n": 1}, Fallback: "f"}, Invisible: true})
	tpl := u.GetRichText().GetTemplate()
	if fromShow(u.GetStatus()) != Away || !u.GetAppearOffline() || tpl.GetToken() != "t" || tpl.GetFallbackText() != "f" || tpl.GetArgs()["n"].GetInteger() != 1 {
		t.Errorf("update: got %v", u)
	}
	no := false
	p := toPartial("tok", Patch{Text: "x", ClearProperties: []string{"k"}, Invisible: &no})
	if p.GetSessionToken() != "tok" || p.GetUpdate().GetRichText().GetLiteral() != "x" || p.GetUpdate().GetStatus() != 0 ||
		len(p.GetClearProperties()) != 1 || p.AppearOffline == nil || p.GetAppearOffline() {
		t.Errorf("partial: got %v", p)
	}
	if p := toPartial("tok", Patch{ClearText: true}); !p.GetClearRichText() || p.AppearOffline != nil {
		t.Errorf("partial: got %v", p)
	}
}
