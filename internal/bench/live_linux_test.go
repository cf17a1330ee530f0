package bench

import (
	"fmt"
	"strings"
	"testing"
)

// liveHere is a device at the live door whose handshake is over, and who waits
// for the snapshot of three friends.
func liveHere(t *testing.T) (*liveSpeaker, *target) {
	t.Helper()
	d, err := newLiveDialect("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	tg := &target{dialect: d, readAt: 5000, hist: new(histogram)}
	s := d.speaker(&device{target: tg, friends: []int32{1, 2, 3}}, "secret").(*liveSpeaker)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	s.pending = nil
	if _, err := s.feed([]byte("HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	f, _, err := cutFrame(s.pending)
	if err != nil || !strings.Contains(string(f.payload), `"token":"secret","device":{"platform":"linux"`) || !strings.Contains(string(f.payload), `"watch":["bench-000001",`) {
		t.Fatalf("got the hello %q, %v", f.payload, err)
	}
	return s, tg
}

// says gives the device messages of the server, cut into single bytes.
func says(s *liveSpeaker, messages ...string) error {
	var b, rest []byte
	for _, m := range messages {
		b = append(b, appendText(nil, []byte(m))...)
	}
	for _, c := range b {
		var err error
		if rest, err = s.feed(append(rest, c)); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes are left", len(rest))
	}
	return nil
}

func TestLiveDeviceCounts(t *testing.T) {
	t.Parallel()
	s, tg := liveHere(t)
	const change = `{"u":"a","k":"updated","s":{"text":"here, #pl:0000000000000fa0"}}` // sent at 4000
	if err := says(s, `{"t":"welcome","session":"x"}`,
		`{"t":"n","q":2,"n":[{"u":"a","k":"current","s":{"text":"here, #--:0000000000000000"}},{"u":"b","k":"none"}]}`,
		`{"t":"n","q":5,"n":[{"u":"c","k":"none"},{"k":"done","user":"c","users":1},{"k":"done","all":true,"users":3}]}`,
		`{"t":"n","q":7,"n":[`+change+`,`+change+`]}`); err != nil {
		t.Fatal(err)
	}
	if tg.ready != 1 || s.device.step != stepReady || tg.notifications != 5 || tg.received != 2 {
		t.Errorf("got %+v at step %s; want 1 ready, 5 notifications, 2 changes", tg.tally, s.device.step)
	}
	if got := int64(tg.hist.quantile(0.5)); got < 950 || got > 1050 {
		t.Errorf("a delay of %d, want about 1000", got)
	}
	if err := s.update(1); err != nil || !s.device.busy {
		t.Errorf("update: %v, waits for its answer: %v", err, s.device.busy)
	}
	if err := s.update(2); err == nil {
		t.Error("a second update before the answer to the first goes out")
	}
	if err := says(s, `{"t":"ok","id":1,"rev":2}`); err != nil || s.device.busy || tg.answered != 1 {
		t.Errorf("answer: %v, still waits: %v, %d answered", err, s.device.busy, tg.answered)
	}
}

// A snapshot may be told user by user.
func TestLiveDeviceAddsSnapshotsUp(t *testing.T) {
	t.Parallel()
	s, tg := liveHere(t)
	if err := says(s, `{"t":"welcome"}`, `{"t":"n","q":1,"n":[{"k":"done","user":"a","users":1},{"k":"done","user":"b"}]}`); err != nil || tg.ready != 0 {
		t.Fatalf("two of three: %v, %d ready", err, tg.ready)
	}
	if err := says(s, `{"t":"n","q":3,"n":[{"k":"done","user":"c","users":1}]}`); err != nil || tg.ready != 1 || tg.notifications != 0 {
		t.Fatalf("three of three: %v, %d ready, %d notifications", err, tg.ready, tg.notifications)
	}
}

func TestLiveDeviceFails(t *testing.T) {
	t.Parallel()
	for want, message := range map[string]string{
		"FIELD_INVALID": `{"t":"error","reason":"FIELD_INVALID"}`,
		"DRAINING":      `{"t":"bye","reason":"DRAINING"}`,
		"refused":       `{"t":"welcome","rejected":["b"]}`,
	} {
		s, _ := liveHere(t)
		if err := says(s, message); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", message, err, want)
		}
	}
	s, _ := liveHere(t)
	if _, err := s.feed([]byte{0x88, 4, 0x11, 0x3d, 'n', 'o'}); err == nil || !strings.Contains(err.Error(), `4413 "no"`) {
		t.Errorf("close frame: got %v, want its code", err)
	}
	d, err := newLiveDialect("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	fresh := d.speaker(&device{target: &target{}}, "secret")
	if _, err := fresh.feed([]byte("HTTP/1.1 403 Forbidden\r\n\r\nno such origin")); err == nil || !strings.Contains(err.Error(), "403 Forbidden") || !strings.Contains(err.Error(), "origin") {
		t.Errorf("refused handshake: got %v", err)
	}
	s.device.step = stepLeft
	if _, err := s.feed([]byte{0x88, 0}); err != nil {
		t.Errorf("close after the good-bye: %v", err)
	}
}
