package tencentim

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tencentyun/tls-sig-api-v2-golang/tencentyun"
	"pgregory.net/rapid"
)

// The vectors of the protocol note: made with keys of ours, checked with the
// vendor's own libraries for Go and Node.
const (
	testID    = 1400000001
	testKey   = "pl-usersig-key-0000000000000000000000000000000000000000000000000001"
	testAdmin = "administrator"

	sigZlib6  = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwokpuZl5mcUlRYkl*UVQBcUp2YkFBZkpSlaGJgYQYAiRSa0oyCxKVbKyMANKQIRKMnOBAobmZuZGRqZmMNHizHSg4eV*2n6RBsVmBcn5Ic7JlSVJ*qV5YUmmQcUFQebGZo4lvq6e4Z7mBlX5VY62SrUAzio0MA__"
	sigStored = "eAEBrgBR-3siVExTLnZlciI6IjIuMCIsIlRMUy5pZGVudGlmaWVyIjoiYWRtaW5pc3RyYXRvciIsIlRMUy5zZGthcHBpZCI6MTQwMDAwMDAwMSwiVExTLmV4cGlyZSI6ODY0MDAsIlRMUy50aW1lIjoxNzY3MjI1NjAwLCJUTFMuc2lnIjoid04rTlkwczZwY29UQ2N5dGIvdW5WYjVSc3BSNzM2QXRNRUlXSTcwem96QT0ifc4qNDA_"
	sigNode   = "eJw1yl0LgjAYBeD-8t4Wti3dYuCFRBdCeWFSdKluxUuoY1tfRv89cHXuznPOG6rtPrprCxJYRGA*dVS693jGiWvVYY-O29oP9ndw6lobgwokjUkIDYvHToOkggvGEk5IUP00aDXIFY--5PACEh7FrDgRx007VOv25ZvFrT80SelMKZY887tNfswFGYcxS*HzBcDINDA_"
	sigBuf    = "eJw1jbEOgjAYhN*lsyHQAEUSBllgkBADkeBWbcFfBWopiDG*uw3Ibfd9l9wH5fvMGLlEPsKGiTZzB8ZbBRXMmLIGWuiVpKqT-0HP7lQIYMi3bHOJtRg*CZAc*Z6rxYIUNBpYxCUYO*5Kh57L81Dpg0u0fZf42tOCdWwXBOsH1FqOaSXs-IaLJPHcQySn7DTyNCwxOU7iYTuvhpShiJ91nATo*wM2Ij60"
)

var testApp = App{App: "demo", ID: testID, Key: testKey, Admins: []string{testAdmin, "second"}}

func TestUserSigVectors(t *testing.T) {
	t.Parallel()
	made := time.Unix(1767225600, 0)
	for name, sig := range map[string]string{"zlib 6": sigZlib6, "stored": sigStored, "Node": sigNode, "with a userbuf": sigBuf} {
		s, no := testApp.userSigOf(sig, testAdmin, made)
		if no != nil {
			t.Errorf("%s: got %v", name, no)
			continue
		}
		if s.issued != 1767225600 || s.life != 86400 {
			t.Errorf("%s: got %+v", name, s)
		}
	}
	if s, _ := parseUserSig(sigBuf); s.userbuf != "cG9yY2hsaWdodA==" || s.sig != "vOfp4Tj2WMM86QGrxSZveOBY27Vxpl45wm7YBpHqgHM=" {
		t.Errorf("userbuf: got %+v", s)
	}
	if s, _ := parseUserSig(sigNode); s.sig != "wN+NY0s6pcoTCcytb/unVb5RspR736AtMEIWI70zozA=" {
		t.Errorf("sig: got %+v", s)
	}
	// At time + expire it is good, a second later it is not.
	if _, no := testApp.userSigOf(sigZlib6, testAdmin, made.Add(86400*time.Second+999*time.Millisecond)); no != nil {
		t.Errorf("in its last second: got %v", no)
	}
	if _, no := testApp.userSigOf(sigZlib6, testAdmin, made.Add(86401*time.Second)); no == nil || no.Code != codeSigExpired {
		t.Errorf("a second later: got %v, want %d", no, codeSigExpired)
	}
	wrong := testApp
	wrong.Key += "x"
	if _, no := wrong.userSigOf(sigZlib6, testAdmin, made); no == nil || no.Code != codeSigWrong {
		t.Errorf("another key: got %v, want %d", no, codeSigWrong)
	}
}

// pack makes a UserSig of whatever claims.
func pack(t testing.TB, claims string) string {
	t.Helper()
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write([]byte(claims)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("+", "*", "/", "-", "=", "_").Replace(base64.StdEncoding.EncodeToString(b.Bytes()))
}

// The first that is wrong is told, in the order of the interface: cut off, app,
// user, life, key.
func TestUserSigOrderOfErrors(t *testing.T) {
	t.Parallel()
	now := time.Unix(1767225600, 0)
	claims := func(app int, user string, issued int) string {
		return pack(t, fmt.Sprintf(`{"TLS.ver":"2.0","TLS.identifier":%q,"TLS.sdkappid":%d,"TLS.time":%d,"TLS.expire":10,"TLS.sig":"x"}`, user, app, issued))
	}
	for _, v := range []struct {
		name, sig string
		want      int
	}{
		{"all wrong, and cut off", claims(1, "bob", 0)[1:], codeSigParse},
		{"app, user, life and key", claims(1, "bob", 0), codeSigApp},
		{"user, life and key", claims(testID, "bob", 0), codeSigUser},
		{"life and key", claims(testID, testAdmin, 1767225589), codeSigExpired},
		{"key", claims(testID, testAdmin, 1767225590), codeSigWrong},
	} {
		if _, no := testApp.userSigOf(v.sig, testAdmin, now); no == nil || no.Code != v.want {
			t.Errorf("%s: got %v, want %d", v.name, no, v.want)
		}
	}
}

func TestUserSigThatCannotBeRead(t *testing.T) {
	t.Parallel()
	good := func(with string) string {
		return `{"TLS.ver":"2.0","TLS.identifier":"a","TLS.sdkappid":1,"TLS.time":1,"TLS.expire":1,"TLS.sig":"x"` + with + `}`
	}
	if _, ok := parseUserSig(pack(t, good("")+"\n")); !ok {
		t.Fatal("a line feed at the end is refused")
	}
	if _, ok := parseUserSig(pack(t, good(`,"more":"`+strings.Repeat("x", maxInflated-len(good(`,"more":""`)))+`"`))); !ok {
		t.Fatal("one of the greatest size is refused")
	}
	noise := make([]byte, 6000)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		noise[i] = 'a' + byte(x%26)
	}
	for name, sig := range map[string]string{
		"empty": "", "no base64": "!!!!", "base64 of something": "aGVsbG8_", "cut off": sigZlib6[:100], "one character less": sigZlib6[1:], "without its end": strings.TrimRight(sigZlib6, "_"),
		"more behind":     pack(t, good("")) + "AAAA",
		"longer than 4 K": pack(t, good(`,"more":"`+string(noise)+`"`)),
		"a bomb":          pack(t, good(`,"more":"`+strings.Repeat("x", 1<<20)+`"`)),
		"no JSON":         pack(t, "TLS.ver 2.0"), "a list": pack(t, "[]"), "null": pack(t, "null"),
		"version 1":         pack(t, strings.Replace(good(""), `"2.0"`, `"201512300000"`, 1)),
		"no version":        pack(t, strings.Replace(good(""), `"TLS.ver":"2.0",`, "", 1)),
		"no identifier":     pack(t, strings.Replace(good(""), `"TLS.identifier":"a",`, "", 1)),
		"no signature":      pack(t, strings.Replace(good(""), `"x"`, `""`, 1)),
		"numbers as text":   pack(t, strings.Replace(good(""), `"TLS.time":1`, `"TLS.time":"1"`, 1)),
		"a negative life":   pack(t, strings.Replace(good(""), `"TLS.expire":1`, `"TLS.expire":-1`, 1)),
		"an endless life":   pack(t, strings.Replace(good(""), `"TLS.expire":1`, `"TLS.expire":9223372036854775807`, 1)),
		"a huge number":     pack(t, strings.Replace(good(""), `"TLS.time":1`, `"TLS.time":1e30`, 1)),
		"two lines in one":  pack(t, strings.Replace(good(""), `"a"`, `"a\nTLS.sdkappid:1"`, 1)),
		"two lines in both": pack(t, good(`,"TLS.userbuf":"x\n"`)),
	} {
		if s, ok := parseUserSig(sig); ok {
			t.Errorf("%s: got %+v, want it refused", name, s)
		}
		if _, no := testApp.userSigOf(sig, testAdmin, time.Now()); no == nil || no.Code != codeSigParse {
			t.Errorf("%s: got %v, want %d", name, no, codeSigParse)
		}
	}
}

// What the vendor's own library makes is good here, and it agrees on what is not.
func TestUserSigOfTheVendorsLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		user := rapid.StringMatching(`[a-zA-Z0-9_@.-]{1,32}`).Draw(t, "user")
		key := rapid.StringN(1, 80, -1).Draw(t, "key")
		life := rapid.IntRange(1, 1<<30).Draw(t, "life")
		app := App{App: "demo", ID: int64(rapid.IntRange(1, 1<<31-1).Draw(t, "app")), Key: key}
		sig, err := tencentyun.GenUserSig(int(app.ID), key, user, life)
		if err != nil {
			t.Fatal(err)
		}
		if buf := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "userbuf"); len(buf) > 0 {
			if sig, err = tencentyun.GenUserSigWithBuf(int(app.ID), key, user, life, buf); err != nil {
				t.Fatal(err)
			}
		} else if err := tencentyun.VerifyUserSig(uint64(app.ID), key, user, sig, time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, no := app.userSigOf(sig, user, time.Now()); no != nil {
			t.Fatalf("%s: got %v", sig, no)
		}
		s, _ := parseUserSig(sig)
		for _, at := range []int64{s.issued, s.issued + s.life, s.issued + s.life + 1} {
			now := time.Unix(at, 0)
			_, no := app.userSigOf(sig, user, now)
			if theirs := tencentyun.VerifyUserSig(uint64(app.ID), key, user, sig, now); s.userbuf == "" && (theirs == nil) != (no == nil) {
				t.Fatalf("%d s after it was made: got %v, theirs says %v", at-s.issued, no, theirs)
			}
		}
	})
}

func FuzzParseUserSig(f *testing.F) {
	for _, s := range []string{sigZlib6, sigStored, sigNode, sigBuf, "", "eJw_", sigZlib6[:50]} {
		f.Add(s)
	}
	f.Add(pack(f, `{"TLS.ver":"2.0"}`))
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := parseUserSig(text)
		if !ok {
			return
		}
		if s.sig == "" || strings.Contains(s.identifier, "\n") || s.expired(time.Unix(s.issued+s.life, 0)) {
			t.Errorf("%+v was taken", s)
		}
		b, err := json.Marshal(map[string]any{
			"TLS.ver": "2.0", "TLS.identifier": s.identifier, "TLS.sdkappid": s.app, "TLS.time": s.issued, "TLS.expire": s.life,
			"TLS.userbuf": s.userbuf, "TLS.sig": s.sig,
		})
		if err != nil {
			t.Fatal(err)
		}
		if again, ok := parseUserSig(pack(t, string(b))); len(b) < 2000 && (!ok || *again != *s) {
			t.Errorf("made again: got %+v, %v; want %+v", again, ok, s)
		}
		if s.signedWith(testKey) && s.sig != "wN+NY0s6pcoTCcytb/unVb5RspR736AtMEIWI70zozA=" && s.sig != "vOfp4Tj2WMM86QGrxSZveOBY27Vxpl45wm7YBpHqgHM=" {
			t.Errorf("forged: %+v", s)
		}
	})
}

// A few bytes that inflate to very many must not be inflated. Not parallel: it
// counts what the whole process allocates.
func TestUserSigBombCostsLittle(t *testing.T) {
	bomb := pack(t, `{"TLS.ver":"2.0","more":"`+strings.Repeat("x", 2<<20)+`"}`)
	if len(bomb) > maxSig {
		t.Fatalf("the bomb has %d bytes, and would be refused for that", len(bomb))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, ok := parseUserSig(bomb); ok {
		t.Error("it was taken")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 512<<10 {
		t.Errorf("%d bytes were allocated for %d", n, len(bomb))
	}
}
