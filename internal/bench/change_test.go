package bench

import (
	"testing"

	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

func TestChangeIsOfTheStandardSize(t *testing.T) {
	t.Parallel()
	for _, mark := range []string{marker, silentMarker} {
		if n := proto.Size(loadUpdate(mark)); n < 150 || n > 170 {
			t.Errorf("the status with %q has %d bytes, want about 160", mark, n)
		}
	}
}

func TestChangeCarriesItsTime(t *testing.T) {
	t.Parallel()
	c, err := newChange()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 1, 123_456_789_012, 1<<63 - 1} {
		b := c.at(at)
		if got, ok := sentAt(b); !ok || got != at {
			t.Errorf("got %d, %v, want %d", got, ok, at)
		}
		var req isonlinev1.UpdateIsOnlineSessionRequest
		if err := proto.Unmarshal(b, &req); err != nil {
			t.Fatalf("the change is no request: %v", err)
		}
		want := loadUpdate(marker)
		want.RichText = req.GetUpdate().GetRichText()
		if !proto.Equal(req.GetUpdate(), want) {
			t.Errorf("got update %v, want %v", req.GetUpdate(), want)
		}
	}
	first, err := proto.Marshal(loadUpdate(silentMarker))
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := sentAt(first); ok {
		t.Errorf("the first status has the time %d, want none", at)
	}
}

func TestEventOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		msg  *isonlinev1.ConnectToIsOnlineSessionResponse
		want int
	}{
		{"nothing", &isonlinev1.ConnectToIsOnlineSessionResponse{Sequence: 5}, 0},
		{"connected", &isonlinev1.ConnectToIsOnlineSessionResponse{Sequence: 1, Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Connected{Connected: &isonlinev1.Connected{}}}, eventConnected},
		{"notification", &isonlinev1.ConnectToIsOnlineSessionResponse{Sequence: 1 << 60, Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Notification{Notification: &isonlinev1.IsOnlineNotification{UserId: "a"}}}, eventNotification},
		{"snapshot done", &isonlinev1.ConnectToIsOnlineSessionResponse{Event: &isonlinev1.ConnectToIsOnlineSessionResponse_SnapshotDone{SnapshotDone: &isonlinev1.SnapshotDone{Users: 3}}}, eventSnapshotDone},
		{"closing", &isonlinev1.ConnectToIsOnlineSessionResponse{Sequence: 9, Event: &isonlinev1.ConnectToIsOnlineSessionResponse_Closing{Closing: &isonlinev1.Closing{}}}, eventClosing},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, err := proto.Marshal(c.msg)
			if err != nil {
				t.Fatal(err)
			}
			if kind, _, err := eventOf(b); int(kind) != c.want || err != nil {
				t.Errorf("got kind %d, %v, want %d", kind, err, c.want)
			}
		})
	}
}

func FuzzEvent(f *testing.F) {
	frames, err := newNullFrames("somebody")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frames.changed)
	f.Add(frames.offline)
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, body, err := eventOf(b)
		if err == nil && len(body) > len(b) || kind < 0 {
			t.Errorf("kind %d with %d bytes out of %d", kind, len(body), len(b))
		}
		sentAt(b)
	})
}

func TestNullFramesCarryTheStamp(t *testing.T) {
	t.Parallel()
	frames, err := newNullFrames("somebody")
	if err != nil {
		t.Fatal(err)
	}
	putStamp(stampOf(frames.changed), 4711)
	var msg isonlinev1.ConnectToIsOnlineSessionResponse
	if err := proto.Unmarshal(frames.changed, &msg); err != nil {
		t.Fatal(err)
	}
	if at, ok := sentAt([]byte(msg.GetNotification().GetSession().GetRichText())); !ok || at != 4711 {
		t.Errorf("got time %d, %v, want 4711", at, ok)
	}
	for name, b := range map[string][]byte{"current": frames.current, "opened": frames.opened, "offline": frames.offline} {
		if _, ok := sentAt(b); ok {
			t.Errorf("the %s frame would count as a change", name)
		}
	}
}
